#include "models/layers/rotary_table.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

// Llama 3.1: wavelengths beyond original/low are stretched by the factor, those below original/high stay,
// linear between.
double scaled_frequency(const RotarySpec& spec, double frequency) {
  if (spec.scaling_factor == 1.0) return frequency;
  const double turns = static_cast<double>(spec.original_positions) * frequency / (2 * std::numbers::pi);
  const double low = spec.low_freq_factor, high = spec.high_freq_factor;
  const double keep = std::min(1.0, std::max(0.0, (turns - low) / (high - low)));
  return frequency * (keep + (1 - keep) / spec.scaling_factor);
}

}  // namespace

Tensor rotary_table(Context& ctx, const RotarySpec& spec, int64_t positions) {
  const int64_t dim = spec.dims, half = dim / 2;
  std::vector<float> values(static_cast<size_t>(positions * dim));
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(dim);
    const double frequency = scaled_frequency(spec, std::pow(spec.theta, exponent));
    for (int64_t p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(p) * frequency;
      values[static_cast<size_t>(p * dim + i)] = static_cast<float>(std::cos(angle));
      values[static_cast<size_t>(p * dim + half + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return ops::to_device(ctx, values, {positions, dim});
}

}  // namespace trireme
