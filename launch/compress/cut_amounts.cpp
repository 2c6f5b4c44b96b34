#include "launch/compress/cut_amounts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/compress/recipe_keys.h"
#include "models/compress/structured/unit_counts.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

/// A number of `there` units, a multiple of `multiple`; 0: none were named.
int64_t number_of(const CutAmount& amount, const char* units, int64_t there, int64_t multiple = 1) {
  if (amount.stay > 0 || amount.part == 0) return amount.stay;
  if (there == 0) throw_usage("{} {}: the model has none", units, amount_text(amount));
  const double left = (1 - amount.part) * static_cast<double>(there) / static_cast<double>(multiple);
  const int64_t number = std::max<int64_t>(1, std::llround(left)) * multiple;
  if (number >= there)
    throw_usage(
        "{} {}: of {}, in multiples of {}, none would go: give a larger part, or the number that stays",
        units, amount_text(amount), there, multiple);
  return number;
}

int64_t neuron_multiple(int64_t there) {
  for (int64_t multiple = 64; multiple > 1; multiple /= 2) {
    if (there % multiple == 0 && there >= 8 * multiple) return multiple;
  }
  return 1;
}

int64_t neurons_of(const UnitCounts& counts) {
  return counts.experts > 0 ? counts.expert_neurons : counts.dense_neurons;
}

}  // namespace

StructuredCut numbers_of(const CutStep& step, const ModelConfig& config) {
  const UnitCounts was = unit_counts(config);
  StructuredCut cut;
  cut.layers = number_of(step.layers, "layers", was.layers);
  if (step.layers.part > 0) cut.layers = std::max<int64_t>(2, cut.layers);  // the first and the last stay
  cut.kv_groups = number_of(step.kv_groups, "kv-groups", was.kv_heads);
  const int64_t groups = cut.kv_groups > 0 ? cut.kv_groups : was.kv_heads;
  if (was.heads_per_kv_head > 1 && step.heads.part > 0) {
    cut.heads = number_of(step.heads, "heads", was.heads_per_kv_head) * groups;
  } else {
    cut.heads = number_of(step.heads, "heads", was.heads());
  }
  cut.neurons = number_of(step.neurons, "neurons", neurons_of(was), neuron_multiple(neurons_of(was)));
  if (step.neurons.part > 0 && was.shared_neurons > 0)
    cut.shared_neurons =
        number_of(step.neurons, "neurons", was.shared_neurons, neuron_multiple(was.shared_neurons));
  cut.experts = number_of(step.experts, "experts", was.experts, std::max<int64_t>(1, config.moe.num_groups));
  counts_after(config, cut);
  return cut;
}

std::string text_of(const StructuredCut& cut, const ModelConfig& config) {
  const UnitCounts was = unit_counts(config), is = counts_after(config, cut);
  std::string text;
  const auto add = [&](int64_t left, int64_t there, const char* units) {
    if (left != there) text += fmt::format("{}{} of {} {}", text.empty() ? "" : ", ", left, there, units);
  };
  add(is.layers, was.layers, "layers");
  add(is.experts, was.experts, "experts");
  add(is.kv_heads, was.kv_heads, "key-value heads");
  add(is.heads(), was.heads(), "heads");
  add(neurons_of(is), neurons_of(was), "neurons");
  add(is.shared_neurons, was.shared_neurons, "neurons of the shared expert");
  return text + " stay";
}

ModelConfig planned_config(const ModelConfig& config, const StructuredCut& cut) {
  const UnitCounts was = unit_counts(config);
  const auto zeros = [](int64_t count) { return std::vector<double>(static_cast<size_t>(count)); };
  UnitImportance even;
  for (int64_t i = 0; i < was.layers; ++i) {
    LayerImportance& layer = even.emplace_back();
    layer.heads = zeros(was.heads());
    const bool is_mixture = config.moe.is_in(i);
    if (is_mixture) layer.experts = zeros(was.experts);
    if (is_mixture) layer.shared_neurons = zeros(was.shared_neurons);
    layer.neurons.assign(is_mixture ? static_cast<size_t>(was.experts) : 1,
                         zeros(is_mixture ? was.expert_neurons : was.dense_neurons));
  }
  return cut_config(config, cut, choose_units(config, even, cut));
}

}  // namespace trireme::launch
