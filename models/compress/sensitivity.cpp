#include "models/compress/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "models/compress/rounded_unit.h"
#include "models/inference/cached_model.h"
#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/cpu/logit_rows.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme {

namespace {

constexpr int64_t kMostBaseBytes = int64_t{512} << 20, kTokensOfPass = 512, kBlockTokens = 32;

int64_t sample_length(InferenceModel& model, const std::vector<std::vector<int32_t>>& samples) {
  if (samples.empty()) throw_usage("sensitivity: there are no samples to measure with");
  const auto length = std::ssize(samples.front());
  if (length > model.model().max_seq_len())
    throw_usage("sensitivity: samples of {} tokens; the model takes sequences of {}", length,
                model.model().max_seq_len());
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::vector<int32_t>& sample = samples[i];
    if (std::ssize(sample) != length || length == 0)
      throw_usage("sensitivity: sample {} has {} tokens, the first {}; all need the same number", i,
                  sample.size(), length);
    for (const int32_t token : sample)
      if (token < 0 || token >= model.config().vocab_size)
        throw_bad_input("sensitivity: sample {} has token {}, the model's vocabulary {}", i, token,
                        model.config().vocab_size);
  }
  return length;
}

/// The model's distributions over the next tokens of samples, and how far it is from them later.
class BaseDistributions {
 public:
  BaseDistributions(Context& ctx, InferenceModel& model, const std::vector<std::vector<int32_t>>& samples)
      : samples_(samples),
        length_(sample_length(model, samples)),
        vocab_(model.config().vocab_size),
        at_once_(std::clamp<int64_t>(kTokensOfPass / length_, 1, std::ssize(samples))),
        blocks_of_sample_((length_ + kBlockTokens - 1) / kBlockTokens),
        cached_(ctx, model.parallel(), model.model(),
                {.num_blocks = at_once_ * blocks_of_sample_, .block_tokens = kBlockTokens}) {
    const int64_t most = kMostBaseBytes / (vocab_ * static_cast<int64_t>(sizeof(float)));
    num_logits_ = std::clamp<int64_t>(most / std::ssize(samples), 1, length_);
    blocks_.resize(static_cast<size_t>(at_once_ * blocks_of_sample_));
    std::iota(blocks_.begin(), blocks_.end(), 0);
    for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(at_once_))
      base_.push_back(logits_from(ctx, first));
  }

  /// The mean of KL(base || model as it is now). UserError (numerics) where logits are not finite.
  double divergence(Context& ctx) {
    double sum = 0;
    int64_t rows = 0;
    for (size_t pass = 0; pass < base_.size(); ++pass) {
      const std::vector<float> now = logits_from(ctx, pass * static_cast<size_t>(at_once_));
      const std::vector<double> of_rows = divergences(ctx, base_[pass], now);
      sum = std::accumulate(of_rows.begin(), of_rows.end(), sum);
      rows += std::ssize(of_rows);
    }
    return sum / static_cast<double>(rows);
  }

 private:
  std::vector<float> logits_from(Context& ctx, size_t first) {
    std::vector<SequenceChunk> chunks;
    const size_t end = std::min(first + static_cast<size_t>(at_once_), samples_.size());
    for (size_t i = first; i < end; ++i) {
      const auto blocks = std::span(std::as_const(blocks_))
                              .subspan((i - first) * static_cast<size_t>(blocks_of_sample_),
                                       static_cast<size_t>(blocks_of_sample_));
      chunks.push_back({.tokens = samples_[i], .start = 0, .blocks = blocks, .num_logits = num_logits_});
    }
    return ops::to_host<float>(ctx, cached_.logits(ctx, chunks));
  }

  std::vector<double> divergences(Context& ctx, const std::vector<float>& base,
                                  const std::vector<float>& now) const {
    const auto width = static_cast<size_t>(vocab_);
    std::vector<double> result(base.size() / width);
    parallel_for(ctx.num_threads(), std::ssize(result), 1, [&](int64_t begin, int64_t end) {
      std::vector<double> weights(width);
      for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r)
        result[r] = divergence_of(std::span(base).subspan(r * width, width),
                                  std::span(now).subspan(r * width, width), weights);
    });
    for (const double value : result)
      if (!std::isfinite(value))
        throw_user(ExitCode::numerics, "sensitivity: a logit of the model is not finite");
    return result;
  }

  /// sum p (log p - log q) = (sum w (x - y)) / W - log W + log V, with x, y the logits less the largest of
  /// their row, w = exp(x), W and V the sums of exp(x) and exp(y). NaN where a logit is not sound.
  static double divergence_of(std::span<const float> p, std::span<const float> q,
                              std::vector<double>& weights) {
    const auto of_p = ops::cpu::largest_logit(p), of_q = ops::cpu::largest_logit(q);
    if (!of_p.is_sound || !of_q.is_sound) return std::nan("");
    ops::cpu::exps_of(p, of_p.value, 1, weights);
    double sum = 0, differences = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      sum += weights[i];
      if (weights[i] > 0)
        differences += weights[i] * ((double{p[i]} - of_p.value) - (double{q[i]} - of_q.value));
    }
    return differences / sum - std::log(sum) + std::log(ops::cpu::sum_of_exps(q, of_q.value));
  }

  const std::vector<std::vector<int32_t>>& samples_;
  int64_t length_, vocab_;
  int64_t at_once_, blocks_of_sample_;  // samples of a pass
  CachedModel cached_;
  int64_t num_logits_ = 0;  // of a sample
  std::vector<int32_t> blocks_;
  std::vector<std::vector<float>> base_;  // of each pass
};

WidthUnit described_unit(const UnitMatrices& unit, const SensitivityOptions& options) {
  WidthUnit result{.name = unit.members.front().name, .members = {}, .choices = {}};
  for (const Parameter& p : unit.members) {
    result.members.push_back(p.name);
    result.weights += p.global_shape.numel();
  }
  for (const ops::PackedSpec& spec : options.specs) {
    int64_t bytes = 0;
    for (const Parameter& p : unit.members) bytes += coded_bytes(spec, p.global_shape[0], p.global_shape[1]);
    result.choices.push_back({.spec = spec, .bytes = bytes});
  }
  if (options.keeps) {
    result.choices.push_back(
        {.spec = {}, .bytes = result.weights * static_cast<int64_t>(size_of(*options.keeps))});
  }
  return result;
}

class SensitivityMeasurement {
 public:
  SensitivityMeasurement(Context& ctx, InferenceModel& model, const WeightSource& source,
                         const SensitivityOptions& options)
      : ctx_(ctx), model_(model), source_(source), options_(options), base_(ctx, model, options.samples) {}

  void measure(const UnitMatrices& unit, WidthUnit& to) {
    if (options_.measures_all) {
      for (size_t s = 0; s < options_.specs.size(); ++s) to.choices[s].damage = damage_of(unit, s);
      return;
    }
    std::vector<double> errors;
    for (const ops::PackedSpec& spec : options_.specs)
      errors.push_back(squared_error(ctx_, source_, unit, spec));
    const auto worst = static_cast<size_t>(std::ranges::max_element(errors) - errors.begin());
    const double damage = errors[worst] > 0 ? damage_of(unit, worst) : 0;
    for (size_t s = 0; s < errors.size(); ++s)
      to.choices[s].damage = errors[worst] > 0 ? damage * (errors[s] / errors[worst]) : 0;
  }

 private:
  double damage_of(const UnitMatrices& unit, size_t spec) {
    const RoundedUnit rounded(ctx_, model_, source_, unit, options_.specs[spec]);
    return std::max(base_.divergence(ctx_), 0.0);
  }

  Context& ctx_;
  InferenceModel& model_;
  const WeightSource& source_;
  const SensitivityOptions& options_;
  BaseDistributions base_;
};

/// Rank 0's numbers on all ranks, so that machines which round otherwise choose alike.
void agree_on_damages(Context& ctx, Communicator& world, std::vector<WidthUnit>& units) {
  for (WidthUnit& unit : units) {
    std::vector<double> damages;
    for (const WidthChoice& c : unit.choices) damages.push_back(c.damage);
    const Tensor sent = ops::to_device(ctx, damages, {std::ssize(damages)});
    world.broadcast(ctx.stream(), sent, 0);
    damages = ops::to_host<double>(ctx, sent);
    for (size_t i = 0; i < damages.size(); ++i) unit.choices[i].damage = damages[i];
  }
}

}  // namespace

std::vector<WidthUnit> measure_sensitivities(Context& ctx, InferenceModel& model, const WeightSource& source,
                                             const SensitivityOptions& options) {
  const std::vector<UnitMatrices> units = units_of(model.model(), options.takes);
  if (units.empty()) throw_usage("sensitivity: no matrix is left to choose a width for");
  if (options.specs.empty()) throw_usage("sensitivity: there are no widths to choose from");
  SensitivityMeasurement measurement(ctx, model, source, options);
  std::vector<WidthUnit> results;
  for (const UnitMatrices& unit : units) {
    if (options.progress) options.progress(std::ssize(results), std::ssize(units), unit.members.front().name);
    results.push_back(described_unit(unit, options));
    measurement.measure(unit, results.back());
  }
  agree_on_damages(ctx, model.parallel().world(), results);
  return results;
}

int64_t coded_bytes(const ops::PackedSpec& spec, int64_t outputs, int64_t inputs) {
  const int64_t bits = spec.format == ops::PackedFormat::int4 ? 4 : 8;
  const int64_t scales = outputs * ops::groups_of(spec, inputs), scale_bytes = 2;
  const int64_t zero_bits = spec.symmetric ? 0 : scales * bits;
  return (outputs * inputs * bits + 7) / 8 + scales * scale_bytes + (zero_bits + 7) / 8;
}

}  // namespace trireme
