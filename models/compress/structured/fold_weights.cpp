#include "models/compress/structured/fold.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <fmt/ranges.h>

#include "models/config/weight_sharing.h"
#include "models/spec/describe.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using Layers = std::vector<int64_t>;

/// Of which tensors each of the folded model is the mean; of one, it is that one.
using TensorsOfSets = std::map<std::string, std::vector<std::string>, std::less<>>;

TensorsOfSets tensors_of_sets(const ModelConfig& config, const ModelConfig& folded,
                              const std::vector<FoldedSet>& sets) {
  TensorsOfSets tensors;
  const ModelSpec spec = spec_of(folded);
  std::map<std::string, const FoldedSet*, std::less<>> by_block;
  for (const FoldedSet& set : sets) by_block[block_name(set.layers.front()) + "."] = &set;
  for (const std::vector<Parameter>& layer : parameters_by_layer(spec)) {
    for (const Parameter& p : layer) {
      std::vector<std::string>& from = tensors[p.name];
      const size_t dot = p.name.starts_with("layers.") ? p.name.find('.', 7) : std::string::npos;
      const auto set = dot == std::string::npos ? by_block.end() : by_block.find(p.name.substr(0, dot + 1));
      if (set == by_block.end()) {
        from.push_back(p.name);
        continue;
      }
      const bool is_mean = set->second->values == kMeanWeights;
      for (const int64_t of : is_mean ? owners_in(config, *set->second)
                                      : std::vector<int64_t>{config.weights_of(set->second->values)})
        from.push_back(block_name(of) + p.name.substr(dot));
    }
  }
  for (const std::string& router : router_names(spec)) tensors[router + ".bias"] = {router + ".bias"};
  return tensors;
}

class LayersOfSets final : public WeightSource {
 public:
  LayersOfSets(std::shared_ptr<const WeightSource> source, TensorsOfSets tensors)
      : source_(std::move(source)), tensors_(std::move(tensors)) {
    const auto there = source_->kinds();
    for (const auto& [name, from] : tensors_) {
      const auto found = there.find(from.front());
      if (found == there.end()) continue;
      kinds_[name] = found->second;
      if (from.size() > 1) kinds_[name].dtype = DType::f32;
    }
  }

  const std::string& path() const override { return source_->path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return kinds_; }

  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const std::vector<std::string>& from = at(name);
    if (from.size() == 1) return source_->read(from.front(), named(p, from.front()), values);
    std::vector<double> sums(values.size());
    for (const std::string& one : from) {
      source_->read(one, named(p, one), values);
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
    }
    for (size_t i = 0; i < sums.size(); ++i)
      values[i] = static_cast<float>(sums[i] / static_cast<double>(from.size()));
  }
  // What is one layer's is as the source has it.
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    const std::vector<std::string>& from = at(name);
    if (from.size() > 1) return std::nullopt;
    return source_->stored(from.front(), named(p, from.front()));
  }
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    const std::vector<std::string>& from = at(name);
    if (from.size() > 1) return std::nullopt;
    return source_->coded(from.front(), named(p, from.front()));
  }
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    const std::vector<std::string>& from = at(name);
    if (from.size() > 1) return std::nullopt;
    return source_->coded_spec(from.front(), named(p, from.front()));
  }

 private:
  const std::vector<std::string>& at(std::string_view name) const {
    const auto found = tensors_.find(name);
    TRIREME_CHECK(found != tensors_.end(), "{} is no parameter of the folded model", name);
    return found->second;
  }
  static Parameter named(const Parameter& p, const std::string& name) {
    Parameter was = p;
    was.name = name;
    return was;
  }

  std::shared_ptr<const WeightSource> source_;
  TensorsOfSets tensors_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
};

}  // namespace

std::vector<int64_t> owners_in(const ModelConfig& config, const FoldedSet& set) {
  Layers owners;
  for (const int64_t i : set.layers) {
    if (config.weights_of(i) == i) owners.push_back(i);
  }
  return owners;
}

ModelConfig fold_config(const ModelConfig& config, const std::vector<FoldedSet>& sets) {
  if (config.quantization) {
    throw_usage(
        "a model that is trained through quantization (qat.*) cannot be folded: its scales are of single "
        "layers; fold first, or export it and fold that");
  }
  Layers from(static_cast<size_t>(config.num_layers), -1);
  for (const FoldedSet& set : sets) {
    bool has_values = set.values == kMeanWeights;
    for (const int64_t layer : set.layers) {
      if (layer < 0 || layer >= config.num_layers || from[static_cast<size_t>(layer)] >= 0)
        throw_usage("layer {} is folded twice, or there is no such layer", layer);
      from[static_cast<size_t>(layer)] = set.layers.front();
      has_values |= layer == set.values;
    }
    if (!has_values)
      throw_usage("layers {} would take the weights of layer {}", fmt::join(set.layers, ", "), set.values);
  }
  if (const auto missing = std::ranges::find(from, -1); missing != from.end())
    throw_usage("layer {} is in no set", missing - from.begin());
  ModelConfig folded = config;
  set_sharing(folded, from);
  if (const auto errors = errors_of(folded); !errors.empty())
    throw_usage("what would be left is no model: {}", fmt::join(errors, "; "));
  folded.name = "custom";
  return folded;
}

std::shared_ptr<const WeightSource> fold_weights(std::shared_ptr<const WeightSource> source,
                                                 const ModelConfig& config,
                                                 const std::vector<FoldedSet>& sets) {
  const ModelConfig folded = fold_config(config, sets);
  check_weights_fit(source->kinds(), source->path(), parameters_by_layer(spec_of(config)), false);
  return std::make_shared<LayersOfSets>(std::move(source), tensors_of_sets(config, folded, sets));
}

}  // namespace trireme
