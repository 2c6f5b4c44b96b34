#include "models/compress/input_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/ops/compress/hessian.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme {

namespace {

constexpr int64_t kExponents = 20;
/// Scales beyond would take weights out of fp32's range.
constexpr double kMostScale = 0x1p60;

float as_scale(double s) {
  return std::isfinite(s) && s > 0 ? static_cast<float>(std::clamp(s, 1 / kMostScale, kMostScale)) : 1.0f;
}

/// Errors of a row of a matrix that is quantized with scaled inputs, as seen by inputs that are not scaled.
/// Infinities where a scaled weight is not finite.
void row_errors(const ScaledMatrix& m, int64_t row, std::span<const float> scales, double* d) {
  const size_t inputs = scales.size();
  const float* w = m.w.data() + static_cast<size_t>(row) * inputs;
  const ops::PackedSpec& spec = m.rounding.spec;
  const auto groups = static_cast<size_t>(ops::groups_of(spec, static_cast<int64_t>(inputs)));
  const size_t size = spec.group == 0 ? inputs : static_cast<size_t>(spec.group);
  std::vector<float> scaled(inputs), steps(groups);
  std::vector<uint8_t> codes(inputs), zeros(groups);
  for (size_t i = 0; i < inputs; ++i) scaled[i] = w[i] * scales[i];
  const int64_t wrong = ops::quantize_row(spec, scaled, {codes, steps, zeros});
  if (wrong >= 0) {
    std::fill_n(d, inputs, std::numeric_limits<double>::infinity());
    return;
  }
  for (size_t i = 0; i < inputs; ++i) {
    const size_t g = i / size;
    const float value = ops::value_of(spec, {steps[g], static_cast<float>(zeros[g])}, codes[i]);
    d[i] = static_cast<double>(value) / static_cast<double>(scales[i]) - static_cast<double>(w[i]);
  }
}

class ScaleSearch {
 public:
  ScaleSearch(Context& ctx, std::span<const ScaledMatrix> matrices, const InputStatistics& statistics)
      : ctx_(ctx),
        matrices_(matrices),
        statistics_(statistics),
        places_(places(statistics.inputs)),
        form_(ctx, {statistics.hessian, statistics.inputs, places_}) {}

  double error(std::span<const float> scales) const {
    double sum = 0;
    for (const ScaledMatrix& m : matrices_) {
      sum += ops::sum_of_forms(ctx_, form_, m.outputs,
                               [&](int64_t row, double* d) { row_errors(m, row, scales, d); });
    }
    return sum;
  }

  InputScales awq() const {
    InputScales best;
    for (int64_t t = 0; t < kExponents; ++t) {
      const double exponent = static_cast<double>(t) / static_cast<double>(kExponents);
      std::vector<float> scales = awq_scales(exponent);
      const double error = this->error(scales);
      if (t == 0) best.error_before = error;
      if (t == 0 || error < best.error) {
        best.scales = std::move(scales);
        best.strength = exponent;
        best.error = error;
      }
    }
    return best;
  }

 private:
  static std::vector<int32_t> places(int64_t inputs) {
    std::vector<int32_t> result(static_cast<size_t>(inputs));
    std::iota(result.begin(), result.end(), 0);
    return result;
  }

  std::vector<float> awq_scales(double exponent) const {
    std::vector<double> powers;
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (const double sum : statistics_.magnitudes) {
      const double power = std::pow(sum / static_cast<double>(statistics_.tokens), exponent);
      powers.push_back(power);
      if (!(sum > 0) || !std::isfinite(power)) continue;
      least = std::min(least, power);
      most = std::max(most, power);
    }
    std::vector<float> scales(powers.size(), 1.0f);
    for (size_t i = 0; i < powers.size(); ++i) {
      if (statistics_.magnitudes[i] > 0) scales[i] = as_scale(powers[i] / std::sqrt(most * least));
    }
    return scales;
  }

  Context& ctx_;
  std::span<const ScaledMatrix> matrices_;
  const InputStatistics& statistics_;
  std::vector<int32_t> places_;
  ops::QuadraticForm form_;
};

std::vector<float> smooth_quant_scales(std::span<const ScaledMatrix> matrices,
                                       const InputStatistics& statistics, double strength) {
  std::vector<float> weights(static_cast<size_t>(statistics.inputs));
  for (const ScaledMatrix& m : matrices) {
    for (int64_t row = 0; row < m.outputs; ++row) {
      const float* w = m.w.data() + row * statistics.inputs;
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::max(weights[i], std::fabs(w[i]));
    }
  }
  std::vector<float> scales(weights.size(), 1.0f);
  for (size_t i = 0; i < weights.size(); ++i) {
    const double x = static_cast<double>(statistics.largest[i]), w = static_cast<double>(weights[i]);
    if (x > 0 && w > 0) scales[i] = as_scale(std::pow(x, strength) / std::pow(w, 1 - strength));
  }
  return scales;
}

}  // namespace

InputScales input_scales(Context& ctx, InputScaling method, std::span<const ScaledMatrix> matrices,
                         const InputStatistics& statistics, double strength) {
  const int64_t inputs = statistics.inputs;
  for (const ScaledMatrix& m : matrices) {
    TRIREME_CHECK(std::ssize(m.w) == m.outputs * inputs, "{} weights for [{}, {}]", m.w.size(), m.outputs,
                  inputs);
  }
  InputScales result{std::vector<float>(static_cast<size_t>(inputs), 1.0f)};
  if (method == InputScaling::none || statistics.is_empty()) return result;
  if (method == InputScaling::smooth_quant) {
    result.scales = smooth_quant_scales(matrices, statistics, strength);
    result.strength = strength;
    if (statistics.hessian.empty()) return result;
    const ScaleSearch search(ctx, matrices, statistics);
    result.error_before = search.error(std::vector<float>(result.scales.size(), 1.0f));
    result.error = search.error(result.scales);
    return result;
  }
  TRIREME_CHECK(std::ssize(statistics.hessian) == inputs * inputs,
                "AWQ of {} inputs with a Hessian of {} numbers", inputs, statistics.hessian.size());
  return ScaleSearch(ctx, matrices, statistics).awq();
}

}  // namespace trireme
