#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::string needs_groups(const RunConfig& config) {
  const std::string reason = needs_experts(config);
  if (!reason.empty() || config.model.moe.num_groups > 1) return reason;
  return "it belongs to --moe.groups above 1";
}

std::string needs_capacity(const RunConfig& config) {
  const std::string reason = needs_experts(config);
  if (!reason.empty() || config.model.moe.capacity != CapacityMode::dropless) return reason;
  return "nothing is dropped: it belongs to --moe.capacity drop or pad";
}

std::string needs_aux_loss(const RunConfig& config) {
  const std::string reason = needs_experts(config);
  if (!reason.empty() || config.model.moe.aux_loss > 0) return reason;
  return "it belongs to --moe.aux-loss above 0";
}

std::string needs_dense_model(const RunConfig& config) {
  const std::string reason = needs_experts(config);
  if (!reason.empty() || !config.start.file.empty()) return reason;
  return "there is no dense model to begin with (--init-from FILE)";
}

}  // namespace

std::string needs_experts(const RunConfig& config) {
  if (config.model.moe.num_experts > 0) return {};
  return "the model has no experts (--moe.experts N, or a preset with them)";
}

std::vector<Option> moe_options() {
  const std::string section = "moe";
  return {
      {section, "experts", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.num_experts; }, 0, 1 << 14),
       "number of experts per MoE block; 0: dense model", ""},
      {section, "top-k", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.experts_per_token; }, 1, 1 << 14),
       "number of experts each token is routed to", "", needs_experts},
      {section, "ffn", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.expert_ffn_size; }, 0, 1 << 22),
       "hidden size of each expert's feed-forward network; 0: model.ffn", "", needs_experts},
      {section, "shared-ffn", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.shared_ffn_size; }, 0, 1 << 22),
       "hidden size of a shared expert that processes every token; 0: no shared expert", "", needs_experts},
      {section, "from", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.first_block; }, 0, 1 << 14),
       "index of the first MoE block, counted from 0; earlier blocks are dense", "", needs_experts},
      {section, "every", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.every; }, 1, 1 << 14),
       "make every N-th block from moe.from on an MoE block; the others are dense", "", needs_experts},
      {section, "score", "",
       choice<RouterScore>([](auto& c) -> auto& { return c.model.moe.score; },
                           {{"softmax", RouterScore::softmax}, {"sigmoid", RouterScore::sigmoid}}),
       "function that turns router logits into scores", "", needs_experts},
      {section, "groups", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.num_groups; }, 1, 1 << 14),
       "split the experts into N groups of consecutive ones, for group-limited routing", "", needs_experts},
      {section, "top-groups", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.groups_per_token; }, 1, 1 << 14),
       "number of groups from which each token may choose experts", "", needs_groups},
      {section, "normalize", "", on_off([](auto& c) -> auto& { return c.model.moe.normalize_gates; }),
       "normalize each token's gates to sum to moe.gate-scale, as Mixtral does", "", needs_experts},
      {section, "gate-scale", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.gate_scale; }, 1e-6),
       "scaling factor of the gates", "", needs_experts},
      {section, "jitter", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.jitter; }, 0, 1),
       "multiply the router's input by uniform noise from 1 - X to 1 + X during training; 0: off", "",
       needs_experts},
      {section, "capacity", "",
       choice<CapacityMode>(
           [](auto& c) -> auto& { return c.model.moe.capacity; },
           {{"dropless", CapacityMode::dropless}, {"drop", CapacityMode::drop}, {"pad", CapacityMode::pad}}),
       "what happens to tokens above an expert's capacity: dropless keeps all; drop drops them, "
       "which bounds memory and load imbalance; pad drops them too and pads to capacity, so that "
       "all messages have one size",
       "", needs_experts},
      {section, "capacity-factor", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.capacity_factor; }, 1e-6, 1 << 20),
       "capacity factor: an expert takes at most X times its even share of the tokens of each sequence", "",
       needs_capacity},
      {section, "aux-loss", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.aux_loss; }, 0),
       "coefficient of the load-balancing auxiliary loss; 0: off", "", needs_experts},
      {section, "aux-scope", "",
       choice<BalanceScope>([](auto& c) -> auto& { return c.model.moe.aux_scope; },
                            {{"sequence", BalanceScope::sequence}, {"batch", BalanceScope::batch}}),
       "compute the auxiliary loss within each sequence, or from the expert load of the last global batch",
       "", needs_aux_loss},
      {section, "z-loss", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.z_loss; }, 0),
       "coefficient of the router z-loss, which keeps router logits small; 0: off", "", needs_experts},
      {section, "bias-rate", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.bias_rate; }, 0),
       "update rate per step of the expert biases (auxiliary-loss-free load balancing); 0: off", "",
       needs_experts},
      {section, "upcycle", "", on_off([](auto& c) -> auto& { return c.start.upcycle; }),
       "initialize every expert from the feed-forward weights of the dense model model.init-from", "",
       needs_dense_model},
  };
}

}  // namespace trireme::launch
