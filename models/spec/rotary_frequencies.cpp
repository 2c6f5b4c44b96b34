#include "models/spec/rotary_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme {

namespace {

// Wavelengths beyond original/low are stretched by the factor, those below original/high stay, linear between
// (arXiv 2407.21783, as published with Llama 3.1).
double llama3_frequency(const RotarySpec& spec, double frequency) {
  const double turns = static_cast<double>(spec.original_positions) * frequency / (2 * std::numbers::pi);
  const double low = spec.low_freq_factor, high = spec.high_freq_factor;
  const double keep = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return frequency * (keep + (1 - keep) / spec.scaling_factor);
}

// How much of each frequency is stretched: a ramp over pairs of dimensions, from those that turn beta_fast
// times in the original context to those that turn beta_slow times (arXiv 2309.00071, section 3.2).
class YarnRamp {
 public:
  explicit YarnRamp(const RotarySpec& spec) {
    const auto pair_that_turns = [&](double turns) {
      const auto original = static_cast<double>(spec.original_positions),
                 dims = static_cast<double>(spec.dims);
      return dims * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(spec.theta));
    };
    const double fast = pair_that_turns(spec.beta_fast), slow = pair_that_turns(spec.beta_slow);
    first_ = std::max(spec.truncate ? std::floor(fast) : fast, 0.0);
    last_ = std::min(spec.truncate ? std::ceil(slow) : slow, static_cast<double>(spec.dims - 1));
    constexpr double kLeast = 0.001;  // a step where they meet, as published code has it
    if (first_ == last_) last_ += kLeast;
  }

  double stretched(double frequency, double pair, double factor) const {
    const double keep = 1 - std::clamp((pair - first_) / (last_ - first_), 0.0, 1.0);
    return frequency * (keep + (1 - keep) / factor);
  }

 private:
  double first_, last_;
};

void scale_longrope(const RotarySpec& spec, int64_t positions, std::vector<double>& frequencies) {
  const std::vector<double>& factors =
      positions > spec.original_positions ? spec.long_factors : spec.short_factors;
  for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= factors[i];
}

}  // namespace

std::vector<double> rotary_frequencies(const RotarySpec& spec, int64_t positions) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < spec.dims / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(spec.dims);
    frequencies.push_back(std::pow(spec.theta, exponent));
  }
  if (spec.scaling_factor == 1) return frequencies;
  switch (spec.scaling) {
    case RotaryScaling::llama3:
      for (double& f : frequencies) f = llama3_frequency(spec, f);
      break;
    case RotaryScaling::linear:
      for (double& f : frequencies) f /= spec.scaling_factor;
      break;
    case RotaryScaling::yarn: {
      const YarnRamp ramp(spec);
      for (size_t i = 0; i < frequencies.size(); ++i)
        frequencies[i] = ramp.stretched(frequencies[i], static_cast<double>(i), spec.scaling_factor);
      break;
    }
    case RotaryScaling::longrope:
      scale_longrope(spec, positions, frequencies);
      break;
  }
  return frequencies;
}

double rotary_attention_factor(const RotarySpec& spec) {
  const bool has_one = spec.scaling == RotaryScaling::yarn || spec.scaling == RotaryScaling::longrope;
  if (spec.scaling_factor == 1 || !has_one) return 1;
  if (spec.attention_factor > 0) return spec.attention_factor;
  const double log_factor = std::log(spec.scaling_factor);
  if (spec.scaling == RotaryScaling::yarn) return 0.1 * log_factor + 1;
  return std::sqrt(1 + log_factor / std::log(static_cast<double>(spec.original_positions)));
}

}  // namespace trireme
