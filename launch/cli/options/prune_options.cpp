#include <fmt/ranges.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::string needs_pruning(const RunConfig& c) {
  return c.prune ? "" : "it belongs to --prune.sparsity, --prune.pattern or --prune.keep-zeros";
}

std::string needs_prune_schedule(const RunConfig& c) {
  return c.prune.is_scheduled() ? "" : "it belongs to --prune.sparsity or --prune.pattern";
}

std::string needs_given_weights(const RunConfig& c) {
  return c.start.file.empty() ? "weights that are drawn have no zeros: it belongs to --model.init-from" : "";
}

/// "50%" or "0.5".
OptionValue part_to_prune() {
  OptionValue value;
  value.placeholder = "PART";
  value.range = "0 to below 1, or 0% to below 100%";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    const bool percent = text.ends_with('%');
    const auto number = parse_number<double>(std::string_view(text).substr(0, text.size() - percent));
    const double part = number.value_or(-1) / (percent ? 100 : 1);
    if (!(part >= 0 && part < 1)) return "a part from 0 up to, not including, 1, such as 50% or 0.5";
    config.prune.sparsity = part;
    return "";
  };
  value.get = [](const RunConfig& config) { return fmt::to_string(config.prune.sparsity); };
  return value;
}

/// "2:4"; none: an empty text.
OptionValue prune_pattern() {
  OptionValue value;
  value.placeholder = "N:M";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    constexpr int64_t kMostOf = 128;
    const size_t colon = text.find(':');
    const auto zeros = parse_number<int64_t>(std::string_view(text).substr(0, colon));
    const auto of = parse_number<int64_t>(
        colon == std::string::npos ? std::string_view() : std::string_view(text).substr(colon + 1));
    const bool fits = zeros && of && *zeros > 0 && *zeros < *of && *of <= kMostOf;
    if (!text.empty() && !fits)
      return "N:M, N zeros of every M neighbouring inputs, such as 2:4; M at most 128";
    config.prune.zeros = zeros.value_or(0);
    config.prune.of = of.value_or(0);
    return "";
  };
  value.get = [](const RunConfig& config) {
    const PruneConfig& p = config.prune;
    return p.of == 0 ? "" : fmt::format("{}:{}", p.zeros, p.of);
  };
  return value;
}

}  // namespace

std::vector<Option> prune_options() {
  const std::string section = "prune";
  return {
      {section, "sparsity", "", part_to_prune(),
       "pruning while training: this part of the units of the blocks' matrices becomes zero, the smallest "
       "ones, and stays zero; a byte for each weight of memory, sharded by ZeRO",
       ""},
      {section, "pattern", "", prune_pattern(),
       "N zeros of every M neighbouring inputs of an output (2:4: half), in place of prune.sparsity; the "
       "last inputs that make no whole group stay",
       "none"},
      {section, "unit", "",
       choice<PruneUnit>([](auto& c) -> auto& { return c.prune.unit; },
                         {{"weight", PruneUnit::weight},
                          {"neuron", PruneUnit::neuron},
                          {"head", PruneUnit::head},
                          {"kv-group", PruneUnit::kv_group}}),
       "what becomes zero as a whole: weights; neurons of a feed-forward network or expert; query heads; "
       "key-value heads with their query heads",
       "", needs_prune_schedule},
      {section, "budget", "",
       choice<PruneBudget>([](auto& c) -> auto& { return c.prune.budget; },
                           {{"matrix", PruneBudget::matrix},
                            {"global", PruneBudget::global},
                            {"output", PruneBudget::output}}),
       "among which units the smallest are chosen: those of a matrix (a part of a block, where units are "
       "more than weights), of the model, or the inputs of an output",
       "", needs_prune_schedule},
      {section, "start-step", "",
       whole(
           [](auto& c) -> auto& { return c.prune.start_step; }, 0),
       "updates before the schedule begins", "", needs_prune_schedule},
      {section, "end-step", "",
       whole(
           [](auto& c) -> auto& { return c.prune.end_step; }, 0),
       "updates after which all that shall be zero is; in between by a cubic schedule (fast, then slower); "
       "as prune.start-step: all at once",
       "", needs_prune_schedule},
      {section, "every", "",
       whole(
           [](auto& c) -> auto& { return c.prune.every; }, 1),
       "updates from one choice to the next, each of which reads all weights on the host", "",
       needs_prune_schedule},
      {section, "keep-zeros", "", on_off([](auto& c) -> auto& { return c.prune.keeps_zeros; }),
       "what is zero in the weights that training begins with (model.init-from) stays zero: a sparse "
       "model is trained back",
       "", needs_given_weights},
      {section, "skip", "", patterns([](auto& c) -> auto& { return c.prune.skip; }),
       "patterns (*) of names of matrices of blocks that stay as they are, as layers.0.*", "none",
       needs_pruning},
  };
}

}  // namespace trireme::launch
