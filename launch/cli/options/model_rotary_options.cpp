// Options of rotary positions and of how they are scaled.
#include <algorithm>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::string needs_rotary(const RunConfig& config) {
  if (config.model.positions == PositionKind::rotary) return "";
  return "positions are learned; rotary ones come with --model.family llama, or --model.positions rotary";
}

std::string needs_rotary_window(const RunConfig& config) {
  const std::string reason = needs_rotary(config);
  const bool has_window = std::ranges::any_of(
      config.model.patterns, [](const AttentionPattern& pattern) { return pattern.window > 0; });
  if (!reason.empty() || config.model.window > 0 || has_window) return reason;
  return "it belongs to --model.window above 0, or to a window in --model.patterns";
}

std::string needs_scaling(const RunConfig& config) {
  const std::string reason = needs_rotary(config);
  if (!reason.empty() || config.model.rotary_scaling_factor > 1) return reason;
  return "it belongs to --model.rotary-scaling above 1";
}

// `names`, and how they are called: all kinds of scaling that the option belongs to.
auto needs_type(std::vector<RotaryScaling> kinds, const char* names) {
  return [kinds = std::move(kinds), names](const RunConfig& config) -> std::string {
    const std::string reason = needs_scaling(config);
    if (!reason.empty() || std::ranges::find(kinds, config.model.rotary_scaling) != kinds.end())
      return reason;
    return fmt::format("it belongs to --model.rotary-scaling-type {}", names);
  };
}

std::vector<Option> angle_options(const std::string& section) {
  return {
      {section, "rotary-theta", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_theta; }, 1),
       "base of the rotary position embedding (RoPE theta)", "10000; qwen2, qwen3, gemma3: 1e6",
       needs_rotary},
      {section, "rotary-local-theta", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_local_theta; }, 0),
       "RoPE theta of blocks with a sliding window, which are not scaled then; 0: as other blocks",
       "0; gemma3: 10000", needs_rotary_window},
      {section, "rotary-dims", "",
       whole(
           [](auto& c) -> auto& { return c.model.rotary_dims; }, 0, 1 << 16),
       "rotate the first N dimensions of each head alone (partial rotary embedding), an even number; 0: all",
       "", needs_rotary},
      {section, "no-rotary-every", "",
       whole(
           [](auto& c) -> auto& { return c.model.no_rotary_every; }, 0, 1 << 14),
       "no positions in every N-th block (NoPE); 0: positions in all blocks", "0; smollm3: 4", needs_rotary},
  };
}

std::vector<Option> scaling_options(const std::string& section) {
  const auto needs_llama3 = needs_type({RotaryScaling::llama3}, "llama3");
  const auto needs_yarn = needs_type({RotaryScaling::yarn}, "yarn");
  const auto needs_longrope = needs_type({RotaryScaling::longrope}, "longrope");
  return {
      {section, "rotary-scaling", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_scaling_factor; }, 1),
       "RoPE scaling factor, by which contexts are longer than model.rotary-original-positions; 1: none", "",
       needs_rotary},
      {section, "rotary-scaling-type", "",
       choice<RotaryScaling>([](auto& c) -> auto& { return c.model.rotary_scaling; },
                             {{"llama3", RotaryScaling::llama3},
                              {"linear", RotaryScaling::linear},
                              {"yarn", RotaryScaling::yarn},
                              {"longrope", RotaryScaling::longrope}}),
       "how RoPE is scaled: linear divides all frequencies (position interpolation), llama3 the low ones, "
       "yarn each by "
       "how often it turns, longrope by factors that are given",
       "", needs_scaling},
      {section, "rotary-original-positions", "",
       whole(
           [](auto& c) -> auto& { return c.model.rotary_original_positions; }, 1),
       "context length before RoPE scaling", "",
       needs_type({RotaryScaling::llama3, RotaryScaling::yarn, RotaryScaling::longrope},
                  "llama3, yarn or longrope")},
      {section, "rotary-low-freq-factor", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_low_freq_factor; }, 1e-6),
       "llama3: frequencies that turn less often than X in the original context are divided by the whole "
       "factor",
       "", needs_llama3},
      {section, "rotary-high-freq-factor", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_high_freq_factor; }, 1e-6),
       "llama3: frequencies that turn more often than X in the original context stay", "", needs_llama3},
      {section, "rotary-beta-fast", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_beta_fast; }, 1e-6),
       "yarn: dimensions that turn more often than X in the original context stay", "", needs_yarn},
      {section, "rotary-beta-slow", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_beta_slow; }, 1e-6),
       "yarn: dimensions that turn less often than X in the original context are divided by the whole factor",
       "", needs_yarn},
      {section, "rotary-truncate", "", on_off([](auto& c) -> auto& { return c.model.rotary_truncate; }),
       "yarn: round the bounds between these to whole dimensions", "", needs_yarn},
      {section, "rotary-attention-factor", "",
       real(
           [](auto& c) -> auto& { return c.model.rotary_attention_factor; }, 0),
       "factor of rotated queries and keys; 0: the paper's, 0.1 ln(scaling) + 1 for yarn, sqrt(1 + "
       "ln(scaling) / "
       "ln(original positions)) for longrope",
       "", needs_type({RotaryScaling::yarn, RotaryScaling::longrope}, "yarn or longrope")},
      {section, "rotary-short-factors", "",
       numbers([](auto& c) -> auto& { return c.model.rotary_short_factors; }),
       "longrope: divisors of the frequencies, one for each pair of rotary dimensions, where train.seq-len "
       "is at most "
       "the original context",
       "none", needs_longrope},
      {section, "rotary-long-factors", "",
       numbers([](auto& c) -> auto& { return c.model.rotary_long_factors; }),
       "longrope: the same for longer sequences", "none", needs_longrope},
  };
}

}  // namespace

std::vector<Option> model_rotary_options() {
  const std::string section = "model";
  std::vector<Option> options = angle_options(section);
  for (Option& option : scaling_options(section)) options.push_back(std::move(option));
  return options;
}

}  // namespace trireme::launch
