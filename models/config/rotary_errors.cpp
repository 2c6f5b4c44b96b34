#include "models/config/rotary_errors.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "parallel/plan/nearest.h"

namespace trireme {

namespace {

using RotaryErrors = std::vector<std::string>;

void check_turned_dims(const ModelConfig& c, RotaryErrors& errors) {
  const int64_t dims = c.rotary_dims, head = c.head_dim();
  if (dims < 0 || dims > head) {
    errors.push_back(fmt::format("model.rotary-dims is {}: a head has {} dimensions (0: all); nearest is {}",
                                 dims, head, dims < 0 ? 0 : head / 2 * 2));
  } else if (dims % 2 != 0) {
    errors.push_back(
        fmt::format("model.rotary-dims is {}: RoPE rotates pairs, so it must be even; nearest are {}", dims,
                    nearest_multiples(2, dims, head)));
  }
}

void check_bases(const ModelConfig& c, RotaryErrors& errors) {
  if (!(c.rotary_theta > 0))
    errors.push_back(fmt::format("model.rotary-theta is {}: it must be above 0", c.rotary_theta));
  if (!(c.rotary_local_theta >= 0)) {
    errors.push_back(
        fmt::format("model.rotary-local-theta is {}: it must be above 0, or 0 for model.rotary-theta {}",
                    c.rotary_local_theta, c.rotary_theta));
  }
  if (c.no_rotary_every < 0 || c.no_rotary_every == 1) {
    errors.push_back(
        fmt::format("model.no-rotary-every is {}: it must be 0 (positions in every block), or 2 or more "
                    "(every N-th block without "
                    "them){}",
                    c.no_rotary_every, c.no_rotary_every == 1 ? ": no block would have positions" : ""));
  }
}

void check_llama3(const ModelConfig& c, RotaryErrors& errors) {
  if (c.rotary_low_freq_factor > 0 && c.rotary_high_freq_factor > c.rotary_low_freq_factor) return;
  errors.push_back(fmt::format(
      "model.rotary-low-freq-factor {} and model.rotary-high-freq-factor {}: they must be above 0, the "
      "second above the first; Llama 3.1 has 1 and 4",
      c.rotary_low_freq_factor, c.rotary_high_freq_factor));
}

void check_yarn(const ModelConfig& c, RotaryErrors& errors) {
  if (!(c.rotary_beta_slow > 0 && c.rotary_beta_fast >= c.rotary_beta_slow)) {
    errors.push_back(fmt::format(
        "model.rotary-beta-fast {} and model.rotary-beta-slow {}: they must be above 0, the first not "
        "below the second; the paper has 32 and 1",
        c.rotary_beta_fast, c.rotary_beta_slow));
  }
  if (!(c.rotary_theta > 1)) {
    errors.push_back(fmt::format(
        "model.rotary-theta is {}: with model.rotary-scaling-type yarn it must be above 1, since all "
        "frequencies are equal otherwise",
        c.rotary_theta));
  }
}

void check_factors(const char* key, const std::vector<double>& factors, int64_t dims, RotaryErrors& errors) {
  const auto has = static_cast<int64_t>(factors.size());
  if (has != dims / 2) {
    errors.push_back(fmt::format(
        "model.{} has {} numbers: model.rotary-scaling-type longrope needs {}, one for each pair of the {} "
        "rotary dimensions{}",
        key, has, dims / 2, dims, has == 0 ? "; linear, llama3 and yarn need none" : ""));
  }
  if (!std::ranges::all_of(factors, [](double f) { return f > 0 && std::isfinite(f); }))
    errors.push_back(fmt::format("model.{}: every factor must be above 0", key));
}

void check_longrope(const ModelConfig& c, RotaryErrors& errors) {
  const int64_t dims = c.rotary_dims > 0 ? c.rotary_dims : c.head_dim();
  check_factors("rotary-short-factors", c.rotary_short_factors, dims, errors);
  check_factors("rotary-long-factors", c.rotary_long_factors, dims, errors);
  if (c.rotary_original_positions == 1 && c.rotary_attention_factor == 0) {
    errors.push_back(
        "model.rotary-original-positions is 1: longrope's attention factor divides by its logarithm; use 2 "
        "or more, or "
        "give --model.rotary-attention-factor");
  }
}

void check_scaling(const ModelConfig& c, RotaryErrors& errors) {
  if (!(c.rotary_scaling_factor >= 1) || std::isinf(c.rotary_scaling_factor)) {
    errors.push_back(
        fmt::format("model.rotary-scaling is {}: it must be 1 (none) or more", c.rotary_scaling_factor));
    return;
  }
  if (c.rotary_original_positions < 1) {
    errors.push_back(fmt::format("model.rotary-original-positions is {}: it must be 1 or more",
                                 c.rotary_original_positions));
  }
  if (!(c.rotary_attention_factor >= 0)) {
    errors.push_back(
        fmt::format("model.rotary-attention-factor is {}: it must be above 0, or 0 for the paper's",
                    c.rotary_attention_factor));
  }
  if (c.rotary_scaling_factor == 1) return;
  if (c.rotary_scaling == RotaryScaling::llama3) check_llama3(c, errors);
  if (c.rotary_scaling == RotaryScaling::yarn) check_yarn(c, errors);
  if (c.rotary_scaling == RotaryScaling::longrope) check_longrope(c, errors);
}

}  // namespace

std::vector<std::string> rotary_errors(const ModelConfig& config) {
  RotaryErrors errors;
  if (config.positions != PositionKind::rotary) return errors;
  check_turned_dims(config, errors);
  check_bases(config, errors);
  check_scaling(config, errors);
  return errors;
}

}  // namespace trireme
