#include "launch/generate/exit_options.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "launch/cli/options/option_values.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

std::function<std::string(const std::string&)> layers_into(std::vector<int64_t>& layers) {
  return [&layers](const std::string& text) -> std::string {
    layers.clear();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      const auto number = option_values::parse_number<int64_t>(text.substr(begin, end - begin));
      if (!number || *number < 1 || (!layers.empty() && *number <= layers.back()))
        return "numbers of blocks, from 1 on, rising: 4 or 2,4,8";
      layers.push_back(*number);
      begin = end + 1;
    }
    return "";
  };
}

std::function<std::string(const std::string&)> confidence_into(double& confidence) {
  return [&confidence](const std::string& text) -> std::string {
    const auto number = option_values::parse_number<double>(text);
    if (!number || !(*number > 0 && *number <= 1)) return "a probability above 0, up to 1: 0.9";
    confidence = *number;
    return "";
  };
}

/// Those that are asked for, checked, or the model's.
std::vector<int64_t> exits_of(const ModelConfig& model, const ExitArguments& arguments) {
  if (arguments.layers.empty()) {
    if (!model.exits.empty()) return model.exits;
    throw_usage(
        "the model has no exits: --exit.layer N says after how many of its {} blocks the head reads, 1 to {} "
        "(it was not trained to read there; model.exits of a training makes exits)",
        model.num_layers, model.num_layers - 1);
  }
  for (const int64_t layer : arguments.layers) {
    if (!model.exits.empty() && std::ranges::count(model.exits, layer) == 0)
      throw_usage("--exit.layer {}: the model has exits after {} of its {} blocks", layer,
                  fmt::join(model.exits, ", "), model.num_layers);
    if (layer >= model.num_layers)
      throw_usage("--exit.layer {}: the model has {} blocks; allowed: 1 to {}", layer, model.num_layers,
                  model.num_layers - 1);
  }
  return arguments.layers;
}

}  // namespace

std::vector<PlainOption> exit_options(ExitArguments& arguments, bool drafts) {
  return {
      {"exit.confidence", "P",
       "a token of a text goes through no more blocks where the head behind an exit gives a token a "
       "probability above this; faster, and texts are others than the whole model's",
       "none: all blocks", confidence_into(arguments.confidence)},
      {"exit.layer", "N[,N]",
       drafts ? "after so many blocks the head reads, for --exit.confidence or --draft-model self (one)"
              : "after so many blocks the head reads",
       drafts ? "the model's exits; for drafts the first" : "the model's exits",
       layers_into(arguments.layers)},
  };
}

std::vector<std::string> errors_of(const ExitArguments& arguments, bool is_self, int64_t pipeline) {
  std::vector<std::string> errors;
  if (!arguments.layers.empty() && !arguments.is_on() && !is_self)
    errors.push_back(fmt::format(
        "--exit.layer {} has no effect without --exit.confidence P (or --speculate N --draft-model self)",
        fmt::join(arguments.layers, ",")));
  if (arguments.is_on() && is_self)
    errors.push_back(fmt::format(
        "--exit.confidence {:g} and --draft-model self are two ways to use exits: the first changes texts, "
        "the second does not; use one",
        arguments.confidence));
  if (is_self && arguments.layers.size() > 1)
    errors.push_back(fmt::format("--exit.layer {}: drafts are made behind one of them; name it",
                                 fmt::join(arguments.layers, ",")));
  if ((arguments.is_on() || is_self) && pipeline > 1)
    errors.push_back(fmt::format(
        "--pp {}: {} needs all blocks and the head on every rank; use --pp 1, and --tp or --ep to "
        "divide the model",
        pipeline, is_self ? "--draft-model self" : "--exit.confidence"));
  return errors;
}

ExitRule exit_rule_of(const ModelConfig& model, const ExitArguments& arguments) {
  if (!arguments.is_on()) return {};
  return {.exits = exits_of(model, arguments), .confidence = arguments.confidence};
}

int64_t draft_blocks_of(const ModelConfig& model, const ExitArguments& arguments) {
  return exits_of(model, arguments).front();
}

std::vector<std::string> exit_warnings(const ModelConfig& model, const ExitArguments& arguments,
                                       bool is_self) {
  std::vector<std::string> lines;
  if (arguments.is_on())
    lines.push_back(fmt::format(
        "--exit.confidence {:g}: tokens leave after {} of {} blocks where they are likelier; texts are "
        "not those of the whole model",
        arguments.confidence, fmt::join(exits_of(model, arguments), ", "), model.num_layers));
  if ((arguments.is_on() || is_self) && model.exits.empty())
    lines.push_back(
        fmt::format("warning: the model was not trained for early exit (model.exits): its head reads badly "
                    "after {} blocks",
                    fmt::join(exits_of(model, arguments), ", ")));
  return lines;
}

}  // namespace trireme::launch
