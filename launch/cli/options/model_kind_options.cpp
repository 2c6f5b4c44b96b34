// Options of the kinds of a model's parts, which its family sets: norms, activation, attention, head.
#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using namespace option_values;

// A switch with two values more.
OptionValue bias_value() {
  const auto field = [](auto& c) -> auto& { return c.model.bias; };
  OptionValue value = choice<BiasKind>(field, {{"on", BiasKind::all},
                                               {"off", BiasKind::none},
                                               {"qkv", BiasKind::qkv},
                                               {"attention", BiasKind::attention}});
  value.is_switch = true;
  const auto set = value.set;
  value.set = [=](RunConfig& config, const std::string& text) {
    const bool on = text == "true" || text == "yes" || text == "1";
    const bool off = text == "false" || text == "no" || text == "0";
    return set(config, on ? "on" : off ? "off" : text);
  };
  return value;
}

OptionValue patterns_value() {
  OptionValue value;
  value.placeholder = "PATTERNS";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    try {
      config.model.patterns = read_attention_patterns(text == "none" ? "" : text);
    } catch (const UserError& error) {
      return fmt::format("patterns of attention: {}", error.what());
    }
    return "";
  };
  value.get = [](const RunConfig& config) { return to_text(config.model.patterns); };
  return value;
}

std::string needs_window(const RunConfig& config) {
  return config.model.window > 0 ? "" : "it belongs to --model.window above 0";
}

std::vector<Option> part_options(const std::string& section) {
  return {
      {section, "norm", "",
       choice<NormKind>([](auto& c) -> auto& { return c.model.norm; },
                        {{"layernorm", NormKind::layer_norm}, {"rmsnorm", NormKind::rms_norm}}),
       "kind of norms; the family sets it, like all kinds of parts that follow", "layernorm; llama: rmsnorm"},
      {section, "norm-placement", "",
       choice<NormPlacement>(
           [](auto& c) -> auto& { return c.model.norm_placement; },
           {{"pre", NormPlacement::before}, {"both", NormPlacement::both}, {"post", NormPlacement::after}}),
       "norms of attention and feed-forward within their residual branches: of the input (pre), of the "
       "output (post, as OLMo 2), or of both, as Gemma 2",
       "pre; gemma2: both; olmo2: post"},
      {section, "parallel-residual", "", on_off([](auto& c) -> auto& { return c.model.parallel_residual; }),
       "attention and feed-forward side by side, each with a norm of its own of the block's input",
       "off; neox: on"},
      {section, "activation", "",
       choice<ActivationKind>([](auto& c) -> auto& { return c.model.activation; },
                              {{"gelu", ActivationKind::gelu},
                               {"gelu-erf", ActivationKind::gelu_erf},
                               {"swiglu", ActivationKind::swiglu},
                               {"geglu", ActivationKind::geglu}}),
       "activation of the feed-forward network: gelu and geglu in the tanh form, gelu-erf exact; swiglu and "
       "geglu "
       "have a gate of model.ffn besides",
       "gelu; llama: swiglu; neox: gelu-erf"},
      {section, "bias", "", bias_value(),
       "biases: on: of all linear layers and LayerNorms; qkv: of query, key and value alone; "
       "attention: of the output projection too",
       "on; llama: off; qwen2: qkv"},
      {section, "tied", "", on_off([](auto& c) -> auto& { return c.model.tied_embeddings; }),
       "tie the output head to the token embedding", "on; llama: off"},
      {section, "scales-embedding", "", on_off([](auto& c) -> auto& { return c.model.scales_embedding; }),
       "multiply token embeddings by the root of model.hidden", "off; gemma: on"},
      {section, "logit-soft-cap", "",
       real(
           [](auto& c) -> auto& { return c.model.logit_soft_cap; }, 0),
       "logit soft-capping: a logit x becomes X tanh(x / X); 0: off", "0; gemma2: 30"},
  };
}

std::vector<Option> attention_kind_options(const std::string& section) {
  return {
      {section, "positions", "",
       choice<PositionKind>([](auto& c) -> auto& { return c.model.positions; },
                            {{"learned", PositionKind::learned}, {"rotary", PositionKind::rotary}}),
       "position embedding: a learned table, or rotary (RoPE)", "learned; llama: rotary"},
      {section, "qk-norm", "",
       choice<QkNormKind>(
           [](auto& c) -> auto& { return c.model.qk_norm; },
           {{"off", QkNormKind::none}, {"head", QkNormKind::head}, {"projection", QkNormKind::projection}}),
       "RMSNorm of queries and keys before RoPE: of each head on its own, or of all heads of the projection "
       "together",
       "off; qwen3, gemma3: head; olmo2: projection"},
      {section, "query-scalar", "",
       real(
           [](auto& c) -> auto& { return c.model.query_scalar; }, 0),
       "attention scores are divided by the root of X; 0: of the head size", "0; gemma2: 256"},
      {section, "attention-soft-cap", "",
       real(
           [](auto& c) -> auto& { return c.model.attention_soft_cap; }, 0),
       "soft-capping of attention scores: a score x becomes X tanh(x / X); 0: off", "0; gemma2: 50"},
      {section, "window", "",
       whole(
           [](auto& c) -> auto& { return c.model.window; }, 0, 1 << 28),
       "sliding-window attention: each token attends to the last N tokens, itself included, "
       "which saves time and memory on long sequences; 0: full causal attention",
       "0; gemma2 and mistral: 4096"},
      {section, "window-pattern", "",
       whole(
           [](auto& c) -> auto& { return c.model.window_pattern; }, 0, 1 << 14),
       "use full attention in every N-th block instead of the window (2: local and global blocks "
       "alternate); 0: use the window in all blocks",
       "0; gemma2: 2; gemma3: 6", needs_window},
      {section, "patterns", "", patterns_value(),
       "sparse attention: what the tokens of each block see beside themselves, block i the pattern i "
       "mod their number, as in \"full; window=64 sinks=4\"; of the last N tokens (window=N), the first N "
       "(sinks=N), every N-th back, so many (stride=N/KEYS), the block of N it is in (blocks=N) with the "
       "last of the blocks before (summary=N reach=BLOCKS), and global tokens (globals=PLACE,PLACE)",
       "none"},
      {section, "window-from", "",
       whole(
           [](auto& c) -> auto& { return c.model.window_from; }, 0, 1 << 14),
       "index of the first block with the window, counted from 0; earlier blocks have full attention", "",
       needs_window},
  };
}

std::string needs_convolution(const RunConfig& config) {
  return config.model.convolution.kernel > 0 ? "" : "it belongs to --model.convolution above 0";
}
std::string needs_bottleneck(const RunConfig& config) {
  return config.model.bottleneck.width > 0 ? "" : "it belongs to --model.bottleneck above 0";
}

std::vector<Option> edge_kind_options(const std::string& section) {
  return {
      {section, "convolution", "",
       whole(
           [](auto& c) -> auto& { return c.model.convolution.kernel; }, 0, 16),
       "blocks with a gated depthwise causal convolution of so many tokens in the place of attention: less "
       "compute, and of earlier tokens only the last few are read; 0: none, else 2 to 16",
       "0"},
      {section, "convolution-every", "",
       whole(
           [](auto& c) -> auto& { return c.model.convolution.every; }, 1, 1 << 14),
       "every N-th block is a convolution; 1: all", "2", needs_convolution},
      {section, "convolution-from", "",
       whole(
           [](auto& c) -> auto& { return c.model.convolution.first_block; }, 0, 1 << 14),
       "index of the first block that is a convolution, counted from 0", "0", needs_convolution},
      {section, "bottleneck", "",
       whole(
           [](auto& c) -> auto& { return c.model.bottleneck.width; }, 0, 1 << 20),
       "width inside of blocks that are narrower than model.hidden, as MobileBERT: attention and several "
       "feed-forward networks between two projections; 0: off",
       "0"},
      {section, "bottleneck-ffns", "",
       whole(
           [](auto& c) -> auto& { return c.model.bottleneck.num_feed_forwards; }, 1, 64),
       "feed-forward networks one after the other in each such block", "4", needs_bottleneck},
  };
}

}  // namespace

std::vector<Option> model_kind_options() {
  const std::string section = "model";
  std::vector<Option> options = part_options(section);
  for (Option& option : attention_kind_options(section)) options.push_back(std::move(option));
  for (Option& option : edge_kind_options(section)) options.push_back(std::move(option));
  return options;
}

}  // namespace trireme::launch
