#include "launch/compress/prediction.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "launch/compress/cut_amounts.h"
#include "launch/compress/matrix_plans.h"
#include "launch/compress/share_outcome.h"
#include "launch/report/number_text.h"
#include "models/config/weight_sharing.h"
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

/// A step that prunes, as one that rounds and takes as long: SparseGPT is GPTQ with masks, Wanda needs no
/// more than the diagonal of the sums that are made.
QuantizeStep as_rounding(const PruneStep& prune) {
  QuantizeStep step;
  step.sequential = prune.sequential;
  if (prune.options.method == PruneMethod::sparsegpt) step.rounding.method = RoundingMethod::gptq;
  if (prune.options.method == PruneMethod::wanda) step.rounding.clips = true;
  return step;
}

/// Adds up what steps take.
struct StepCosts {
  double flops_per_second = 0;
  const WorkLoad& load;
  int64_t bytes_of_models = 0;  ///< that are held at once
  Prediction& prediction;

  double forward_seconds(const ModelConfig& config) const {
    return forward_flops_per_token(config, load.seq_len) / flops_per_second;
  }

  void add(const ModelConfig& config, const QuantizeStep& step) const {
    prediction.seconds += seconds_of_widths(config, step, load);
    if (!needs_samples(step)) return;
    const auto tokens = static_cast<double>(load.calibration_tokens);
    const double hessians = tokens * hessian_flops_per_token(config), rounding = rounding_flops(config, step);
    prediction.hessian_flops = std::max(prediction.hessian_flops, hessians);
    prediction.rounding_flops = std::max(prediction.rounding_flops, rounding);
    prediction.seconds += passes_of(step) * tokens * forward_seconds(config) +
                          (kSlowerSums * hessians + kSlowerRounding * rounding) / flops_per_second;
    prediction.bytes = std::max(
        prediction.bytes, bytes_of_models +
                              most_hessian_bytes(config) * 2 / std::max<int64_t>(1, load.ranks_of_model) +
                              2 * load.calibration_tokens * config.hidden_size * 4);
  }

  /// A pass for each set of weights there is, and one for each whose loss is measured.
  void add(const ModelConfig& config, const ShareStep& step) const {
    constexpr int64_t kTrialTokens = 8192;
    const auto there = static_cast<double>(num_distinct_layers(config)),
               left = static_cast<double>(sets_left(step, config));
    double passes = (there + 2) * static_cast<double>(load.calibration_tokens);
    if (step.values == FoldValues::measured)
      passes += (there + left) * static_cast<double>(std::min(kTrialTokens, load.calibration_tokens));
    prediction.seconds += passes * forward_seconds(config);
    prediction.bytes =
        std::max(prediction.bytes, bytes_of_models + 3 * load.calibration_tokens * config.hidden_size * 4);
  }

  void add(const ModelConfig& config, const TrainingLoad& training, int64_t weight_bytes) const {
    const auto tokens = static_cast<double>(training.tokens);
    prediction.seconds +=
        tokens * (3 * forward_seconds(config) + (training.has_teacher ? load.forward_seconds_per_token : 0));
    prediction.bytes = std::max(prediction.bytes, training.bytes + (training.has_teacher ? weight_bytes : 0));
  }
};

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

Prediction predict(const ModelConfig& base, const Recipe& recipe, const WorkLoad& load,
                   int64_t weight_bytes) {
  Prediction prediction;
  const double base_flops = forward_flops_per_token(base, load.seq_len),
               flops_per_second = base_flops / std::max(load.forward_seconds_per_token, 1e-12),
               measuring_base = static_cast<double>(load.evaluation_tokens) * load.forward_seconds_per_token,
               decoding = 3 * static_cast<double>(load.decode_tokens) * load.decode_seconds_per_token;
  const StepCosts costs{flops_per_second, load, 3 * weight_bytes, prediction};
  prediction.seconds = 2 * measuring_base + decoding;  // of the base
  // The base, and what is made in its place; the last one's file is read back beside them.
  prediction.bytes = 3 * weight_bytes;
  ModelConfig config = base;
  for (size_t i = 0; i < recipe.steps.size(); ++i) {
    const RecipeStep& step = recipe.steps[i];
    if (step.kind == StepKind::cut) {
      prediction.seconds += static_cast<double>(load.calibration_tokens) * costs.forward_seconds(config);
      config = planned_config(config, numbers_of(step.cut, config));
    }
    if (step.kind == StepKind::share) {
      costs.add(config, step.share);
      config = planned_config(config, step.share);
    }
    prediction.seconds += measuring_base +
                          static_cast<double>(load.evaluation_tokens) * costs.forward_seconds(config) +
                          decoding;
    if (step.kind == StepKind::quantize) costs.add(config, step.quantize);
    if (step.kind == StepKind::prune) costs.add(config, as_rounding(step.prune));
    if (const auto training = load.trainings.find(i); training != load.trainings.end())
      costs.add(config, training->second, weight_bytes);
  }
  return prediction;
}

std::string text_of(const Prediction& prediction) {
  return fmt::format("about {} and {} on each rank", short_duration(prediction.seconds),
                     short_bytes(static_cast<double>(prediction.bytes)));
}

}  // namespace trireme::launch
