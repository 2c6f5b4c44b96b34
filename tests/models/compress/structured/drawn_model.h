// Models with weights that a seed draws, biases and gains too, and units of them that do nothing.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/compress/structured/cut.h"
#include "models/compress/structured/cut_weights.h"
#include "models/compress/structured/unit_importance.h"
#include "models/inference/inference_model.h"
#include "models/spec/describe.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/models/compress/quantized_model.h"

namespace trireme::test {

/// Weights in memory.
class DrawnModel final : public WeightSource {
 public:
  explicit DrawnModel(const ModelConfig& config, uint64_t seed = 5) : config_(config) {
    for (const auto& layer : parameters_by_layer(spec_of(config))) {
      for (const Parameter& p : layer) {
        const bool is_gain = p.name.ends_with(".gain");
        std::vector<float> values = draw(p.global_shape.numel(), seed++);
        for (float& v : values) v = is_gain ? 1 + v : p.global_shape.rank() == 2 ? 0.6f * v : 0.3f * v;
        set(p.name, p.global_shape, std::move(values));
      }
    }
    if (config.moe.bias_rate == 0) return;
    for (const std::string& router : router_names(spec_of(config)))
      set(router + ".bias", {config.moe.num_experts}, draw(config.moe.num_experts, seed++));
  }

  const ModelConfig& config() const { return config_; }
  std::vector<float>& at(const std::string& name) { return kept_.tensors.at(name); }
  void set(const std::string& name, const Shape& shape, std::vector<float> values) {
    kept_.shapes[name] = shape;
    kept_.tensors[name] = std::move(values);
  }
  /// Numbers of columns [begin, end) of a matrix.
  void clear_columns(const std::string& name, int64_t begin, int64_t end) {
    const int64_t width = kept_.shapes.at(name)[1];
    for (int64_t i = 0; i < std::ssize(at(name)); ++i) {
      if (i % width >= begin && i % width < end) at(name)[static_cast<size_t>(i)] = 0;
    }
  }

  const std::string& path() const override { return source_.path(); }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return source_.kinds(); }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    source_.read(name, p, values);
  }

 private:
  static std::vector<float> draw(int64_t count, uint64_t seed) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(static_cast<float>(philox4x32(seed, static_cast<uint64_t>(i), 0)[0]) * 0x1p-31f - 1);
    return values;
  }

  ModelConfig config_;
  KeptResults kept_;
  KeptSource source_{kept_};
};

using Units = std::vector<int64_t>;

inline bool has(const Units& units, int64_t unit) { return std::ranges::count(units, unit) > 0; }

inline void silence_network(DrawnModel& model, const std::string& name, const Units& neurons) {
  for (int64_t n = 0; n < model.kinds().at(name + ".down.weight").shape[1]; ++n) {
    if (!has(neurons, n)) model.clear_columns(name + ".down.weight", n, n + 1);
  }
}

inline void silence_experts(DrawnModel& model, int64_t layer, const KeptLayer& kept) {
  std::vector<float>& bias = model.at(router_name(layer) + ".bias");
  for (int64_t e = 0; e < std::ssize(bias); ++e) {
    if (!has(kept.experts, e)) bias[static_cast<size_t>(e)] = -1e6f;
  }
}

inline void silence_layer(DrawnModel& model, int64_t layer) {
  for (auto& [name, kind] : model.kinds()) {
    const std::string prefix = block_name(layer) + ".";
    if (!name.starts_with(prefix)) continue;
    for (const char* part : {".output.", ".down.", "_post_norm."}) {
      if (name.find(part) != std::string::npos) std::ranges::fill(model.at(name), 0.0f);
    }
  }
}

/// What is cut does nothing: what follows it is zero, and no token chooses an expert.
inline void silence(DrawnModel& model, const KeptUnits& kept) {
  const ModelConfig& c = model.config();
  Units layers;
  for (const KeptLayer& of : kept) {
    const std::string name = block_name(of.layer);
    layers.push_back(of.layer);
    if (c.weights_of(of.layer) != of.layer) continue;
    for (int64_t h = 0; h < c.num_heads; ++h) {
      if (!has(of.heads, h))
        model.clear_columns(name + ".attention.output.weight", h * c.head_dim(), (h + 1) * c.head_dim());
    }
    if (!c.moe.is_in(of.layer)) {
      silence_network(model, name + ".ffn", of.neurons.front());
      continue;
    }
    for (size_t e = 0; e < of.experts.size(); ++e)
      silence_network(model, fmt::format("{}.ffn.experts.{}", name, of.experts[e]), of.neurons[e]);
    if (c.moe.shared_ffn_size > 0) silence_network(model, name + ".ffn.shared", of.shared_neurons);
    if (std::ssize(of.experts) < c.moe.num_experts) silence_experts(model, of.layer, of);
  }
  for (int64_t i = 0; i < c.num_layers; ++i) {
    if (!has(layers, i)) silence_layer(model, i);
  }
}

inline std::vector<float> logits_of(const WeightSource& source, const ModelConfig& config) {
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel model(ctx, *self, source, config, {.plan = {.data = 1}});
  return logits_of_samples(ctx, model.model(), some_samples(config, 2, 12));
}

/// Importances that are `drawn` of each unit: a number of its own kind, layer and place.
inline UnitImportance drawn_importance(const ModelConfig& config, uint64_t seed = 9) {
  const auto some = [&](int64_t count) {
    std::vector<double> scores;
    for (int64_t i = 0; i < count; ++i)
      scores.push_back(philox4x32(seed, static_cast<uint64_t>(i), 1)[0] + 1.0);
    ++seed;
    return scores;
  };
  UnitImportance importance;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerImportance& of = importance.emplace_back();
    of.layer = some(1).front();
    of.heads = some(config.num_heads);
    const bool is_mixture = config.moe.is_in(i);
    const int64_t networks = is_mixture ? config.moe.num_experts : 1;
    for (int64_t e = 0; e < networks; ++e)
      of.neurons.push_back(some(is_mixture ? config.expert_ffn_size() : config.ffn_size));
    if (!is_mixture) continue;
    of.experts = some(config.moe.num_experts);
    of.shared_neurons = some(config.moe.shared_ffn_size);
  }
  return importance;
}

}  // namespace trireme::test
