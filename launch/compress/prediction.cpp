#include "launch/compress/prediction.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "launch/compress/matrix_plans.h"
#include "launch/report/number_text.h"
#include "models/cost/model_size.h"

namespace trireme::launch {

namespace {

constexpr double kAwqTrials = 20;
/// Sums are fp64 and factorizations have little to keep vector units busy with: slower than products by so
/// much, as measured on models of 4 to 135 million parameters.
constexpr double kSlowerSums = 2, kSlowerRounding = 3;
/// Passes over the calibration tokens: with observers, of which there are four where each matrix is to see
/// what the quantized ones before it give, and again with the quantized block.
double passes_of(const QuantizeStep& step) { return step.sequential ? 5 : 2; }

bool is_of_layers(const ParameterInfo& p) {
  return p.shape.rank() == 2 && p.name.starts_with("layers.") && !p.name.ends_with(".router.weight");
}

/// Matrices with one key read the same inputs.
std::string input_key(const ParameterInfo& p) {
  std::string name = p.name.substr(0, p.name.size() - std::string_view(".weight").size());
  const size_t last = name.rfind('.');
  const std::string kind = name.substr(last + 1);
  const bool is_own = kind == "output" || kind == "down";
  return is_own ? name : name.substr(0, last);
}

struct Input {
  int64_t features = 0;
  bool is_of_expert = false;
};

std::map<std::string, Input> inputs_of(const ModelConfig& config) {
  std::map<std::string, Input> inputs;
  for (const ParameterInfo& p : parameter_table(config)) {
    if (is_of_layers(p)) inputs[input_key(p)] = {p.shape[1], p.expert >= 0};
  }
  return inputs;
}

/// The part of a model's experts that a token meets.
double expert_share(const ModelConfig& config) {
  if (config.moe.num_experts == 0) return 1;
  return static_cast<double>(config.moe.experts_per_token) / static_cast<double>(config.moe.num_experts);
}

double squared(int64_t n) { return static_cast<double>(n) * static_cast<double>(n); }

/// Of the inputs of one layer, which are held at once: fp64.
int64_t most_hessian_bytes(const ModelConfig& config) {
  std::map<std::string, int64_t> by_layer;
  for (const auto& [key, input] : inputs_of(config)) {
    const std::string layer = key.substr(0, key.find('.', std::string_view("layers.").size()));
    by_layer[layer] += static_cast<int64_t>(8 * squared(input.features));
  }
  int64_t most = 0;
  for (const auto& [layer, bytes] : by_layer) most = std::max(most, bytes);
  return most;
}

/// Of mixed widths: each format of each of a block's four products by itself, on a few samples.
double seconds_of_widths(const ModelConfig& config, const QuantizeStep& step, const WorkLoad& load) {
  constexpr int64_t kSamples = 8, kProducts = 4;
  const int64_t tokens = std::min(load.calibration_tokens, kSamples * load.seq_len);
  const auto passes = static_cast<double>(std::ssize(step.widths) * kProducts * config.num_layers);
  return passes * static_cast<double>(tokens) * load.forward_seconds_per_token;
}

}  // namespace

double hessian_flops_per_token(const ModelConfig& config) {
  double flops = 0;
  for (const auto& [key, input] : inputs_of(config))
    flops += 2 * squared(input.features) * (input.is_of_expert ? expert_share(config) : 1);
  return flops;
}

double rounding_flops(const ModelConfig& config, const QuantizeStep& step) {
  double flops = 0;
  for (const ParameterInfo& p : parameter_table(config)) {
    if (!is_of_layers(p)) continue;
    const double of_rows = static_cast<double>(p.shape[0]) * squared(p.shape[1]);
    if (step.rounding.method == RoundingMethod::gptq)
      flops += of_rows + squared(p.shape[1]) * static_cast<double>(p.shape[1]);
    if (step.scaling == InputScaling::awq) flops += 2 * kAwqTrials * of_rows;
    if (step.rounding.clips) flops += 2 * of_rows;
  }
  return flops;
}

Prediction predict(const ModelConfig& config, const Recipe& recipe, const WorkLoad& load,
                   int64_t weight_bytes) {
  Prediction prediction;
  const double flops_per_second =
      forward_flops_per_token(config, load.seq_len) / std::max(load.forward_seconds_per_token, 1e-12);
  const auto tokens = static_cast<double>(load.calibration_tokens);
  const double measuring = 2 * static_cast<double>(load.evaluation_tokens) * load.forward_seconds_per_token +
                           3 * static_cast<double>(load.decode_tokens) * load.decode_seconds_per_token;
  bool has_hessians = false;
  prediction.seconds = measuring;  // of the base
  for (const RecipeStep& step : recipe.steps) {
    prediction.seconds += measuring;
    if (step.kind != StepKind::quantize) continue;
    prediction.seconds += seconds_of_widths(config, step.quantize, load);
    if (!needs_samples(step.quantize)) continue;
    has_hessians = true;
    const double hessians = tokens * hessian_flops_per_token(config),
                 rounding = rounding_flops(config, step.quantize);
    prediction.hessian_flops = hessians;
    prediction.rounding_flops = std::max(prediction.rounding_flops, rounding);
    prediction.seconds += passes_of(step.quantize) * tokens * load.forward_seconds_per_token +
                          (kSlowerSums * hessians + kSlowerRounding * rounding) / flops_per_second;
  }
  // The base, and what is quantized in its place; the last one's file is read back beside them.
  prediction.bytes = 3 * weight_bytes;
  if (has_hessians) {
    prediction.bytes += most_hessian_bytes(config) * 2 / std::max<int64_t>(1, load.ranks_of_model);
    prediction.bytes += 2 * load.calibration_tokens * config.hidden_size * 4;
  }
  return prediction;
}

std::string text_of(const Prediction& prediction) {
  return fmt::format("about {} and {} on each rank", short_duration(prediction.seconds),
                     short_bytes(static_cast<double>(prediction.bytes)));
}

}  // namespace trireme::launch
