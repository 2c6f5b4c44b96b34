#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme {

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
       "experts of a block; 0: every block is dense", ""},
      {section, "top-k", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.experts_per_token; }, 1, 1 << 14),
       "experts that a token passes through", "", needs_experts},
      {section, "ffn", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.expert_ffn_size; }, 0, 1 << 22),
       "width of an expert; 0: model.ffn", "", needs_experts},
      {section, "shared-ffn", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.shared_ffn_size; }, 0, 1 << 22),
       "width of a shared expert that every token passes through besides; 0: none", "", needs_experts},
      {section, "from", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.first_block; }, 0, 1 << 14),
       "the first block with experts, counted from 0", "", needs_experts},
      {section, "every", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.every; }, 1, 1 << 14),
       "from it on every N-th block has experts", "", needs_experts},
      {section, "score", "",
       choice<RouterScore>([](auto& c) -> auto& { return c.model.moe.score; },
                           {{"softmax", RouterScore::softmax}, {"sigmoid", RouterScore::sigmoid}}),
       "what the router makes of its logits", "", needs_experts},
      {section, "groups", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.num_groups; }, 1, 1 << 14),
       "groups of neighbouring experts", "", needs_experts},
      {section, "top-groups", "",
       whole(
           [](auto& c) -> auto& { return c.model.moe.groups_per_token; }, 1, 1 << 14),
       "groups within which a token chooses", "", needs_groups},
      {section, "normalize", "", on_off([](auto& c) -> auto& { return c.model.moe.normalize_gates; }),
       "a token's gates sum to moe.gate-scale, as Mixtral's", "", needs_experts},
      {section, "gate-scale", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.gate_scale; }, 1e-6),
       "factor on the gates", "", needs_experts},
      {section, "jitter", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.jitter; }, 0, 1),
       "training multiplies the router's input by uniform noise in 1 - X to 1 + X; 0: none", "",
       needs_experts},
      {section, "capacity", "",
       choice<CapacityMode>(
           [](auto& c) -> auto& { return c.model.moe.capacity; },
           {{"dropless", CapacityMode::dropless}, {"drop", CapacityMode::drop}, {"pad", CapacityMode::pad}}),
       "a full expert: never; further choices count for nothing; likewise, with messages of one size", "",
       needs_experts},
      {section, "capacity-factor", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.capacity_factor; }, 1e-6, 1 << 20),
       "room of an expert in each sequence, times the even share", "", needs_capacity},
      {section, "aux-loss", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.aux_loss; }, 0),
       "factor on the auxiliary loss that balances experts; 0: none", "", needs_experts},
      {section, "aux-scope", "",
       choice<BalanceScope>([](auto& c) -> auto& { return c.model.moe.aux_scope; },
                            {{"sequence", BalanceScope::sequence}, {"batch", BalanceScope::batch}}),
       "balance within each sequence, or by the load of the last global batch", "", needs_aux_loss},
      {section, "z-loss", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.z_loss; }, 0),
       "factor on the z-loss, which keeps the router's logits small; 0: none", "", needs_experts},
      {section, "bias-rate", "",
       real(
           [](auto& c) -> auto& { return c.model.moe.bias_rate; }, 0),
       "step a step of biases that balance experts without a loss; 0: none", "", needs_experts},
      {section, "upcycle", "", on_off([](auto& c) -> auto& { return c.start.upcycle; }),
       "model.init-from is a dense model, whose feed-forward part every expert begins with", "",
       needs_dense_model},
  };
}

}  // namespace trireme
