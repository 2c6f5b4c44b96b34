#include "models/inference/sampling.h"

#include <algorithm>
#include <cmath>

#include "models/inference/likeliest_tokens.h"
#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/ops/cpu/logit_rows.h"

namespace trireme {

namespace {

void penalize(std::span<float> logits, const SamplingOptions& options, std::span<const int32_t> prompt,
              std::span<const int32_t> text) {
  const int64_t vocab = std::ssize(logits);
  if (options.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(options.repetition_penalty);
    std::vector<bool> is_done(logits.size());
    for (const auto tokens : {prompt, text}) {
      for (const int32_t token : tokens) {
        if (token < 0 || token >= vocab || is_done[static_cast<size_t>(token)]) continue;
        is_done[static_cast<size_t>(token)] = true;
        float& logit = logits[static_cast<size_t>(token)];
        logit = logit > 0 ? logit / penalty : logit * penalty;
      }
    }
  }
  if (options.presence_penalty == 0 && options.frequency_penalty == 0) return;
  std::vector<int32_t> sorted(text.begin(), text.end());
  std::ranges::sort(sorted);
  for (size_t i = 0; i < sorted.size();) {
    const int32_t token = sorted[i];
    size_t count = 0;
    while (i < sorted.size() && sorted[i] == token) ++i, ++count;
    if (token < 0 || token >= vocab) continue;
    const double less = options.presence_penalty + options.frequency_penalty * static_cast<double>(count);
    logits[static_cast<size_t>(token)] -= static_cast<float>(less);
  }
}

/// 53 bits of (0, 1).
double uniform_number(uint64_t seed, int64_t index) {
  const auto bits = philox4x32(stream_key(seed, "sampling"), static_cast<uint64_t>(index), 0);
  const uint64_t wide = (static_cast<uint64_t>(bits[0]) << 32 | bits[1]) >> 11;
  return (static_cast<double>(wide) + 0.5) * 0x1.0p-53;
}

/// Where the running sum of the weights passes `part` of their sum.
int64_t place_in(std::span<const double> weights, double part) {
  double sum = 0, seen = 0;
  for (const double w : weights) sum += w;
  const double wanted = part * sum;
  int64_t last = 0;
  for (int64_t i = 0; i < std::ssize(weights); ++i) {
    const double w = weights[static_cast<size_t>(i)];
    if (w > 0) last = i;  // where rounding leaves `wanted` unreached
    seen += w;
    if (seen > wanted) return i;
  }
  return last;
}

int32_t draw(std::span<const float> logits, float largest, const SamplingOptions& options, int64_t index) {
  const RankedToken last = last_kept(logits, largest, options);
  const double part = uniform_number(options.seed, index);
  const double factor = std::min(1 / options.temperature, 1e30);
  std::vector<double> weights;
  if (!is_likelier(last, kKeepAll)) {
    weights.resize(logits.size());
    ops::cpu::exps_of(logits, largest, factor, weights);
    return static_cast<int32_t>(place_in(weights, part));
  }
  std::vector<float> kept;
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < static_cast<int32_t>(logits.size()); ++i) {
    const float logit = logits[static_cast<size_t>(i)];
    if (logit < last.logit || (logit == last.logit && i > last.token)) continue;
    kept.push_back(logit);
    tokens.push_back(i);
  }
  weights.resize(kept.size());
  ops::cpu::exps_of(kept, largest, factor, weights);
  return tokens[static_cast<size_t>(place_in(weights, part))];
}

ops::cpu::LargestLogit sound_largest(std::span<const float> logits) {
  TRIREME_CHECK(!logits.empty());
  const ops::cpu::LargestLogit largest = ops::cpu::largest_logit(logits);
  if (!largest.is_sound) {
    throw_user(ExitCode::numerics,
               "no token can be chosen: a logit of the model is not a number, or infinite; its weights are "
               "damaged, or too large for the type that it computes in");
  }
  return largest;
}

bool has_penalties(const SamplingOptions& o) {
  return o.repetition_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0;
}

}  // namespace

std::vector<std::string> errors_of(const SamplingOptions& o) {
  std::vector<std::string> errors;
  const auto check = [&](bool is_allowed, const char* name, auto value, const char* allowed) {
    if (!is_allowed) errors.push_back(fmt::format("--{} is {}; allowed: {}", name, value, allowed));
  };
  check(o.temperature >= 0 && std::isfinite(o.temperature), "temperature", o.temperature,
        "0 (greedy) or more");
  check(o.top_k >= 0, "top-k", o.top_k, "0 (all tokens) or more");
  check(o.top_p > 0 && o.top_p <= 1, "top-p", o.top_p, "above 0, up to 1 (all tokens)");
  check(o.min_p >= 0 && o.min_p <= 1, "min-p", o.min_p, "0 (all tokens) to 1");
  check(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition-penalty",
        o.repetition_penalty, "above 0; 1 changes nothing");
  check(std::isfinite(o.presence_penalty), "presence-penalty", o.presence_penalty, "a finite number");
  check(std::isfinite(o.frequency_penalty), "frequency-penalty", o.frequency_penalty, "a finite number");
  return errors;
}

SampledToken sample_token(std::span<const float> logits, int64_t vocab_size, const SamplingOptions& options,
                          std::span<const int32_t> prompt, std::span<const int32_t> text, int64_t index) {
  logits = logits.first(static_cast<size_t>(std::clamp<int64_t>(vocab_size, 0, std::ssize(logits))));
  ops::cpu::LargestLogit largest = sound_largest(logits);
  const double log_sum = largest.value + std::log(ops::cpu::sum_of_exps(logits, largest.value));
  std::vector<float> penalized;
  std::span<const float> changed = logits;
  if (has_penalties(options)) {
    penalized.assign(logits.begin(), logits.end());
    penalize(penalized, options, prompt, text);
    changed = penalized;
    largest = sound_largest(changed);
  }
  const int32_t token = options.temperature == 0 ? static_cast<int32_t>(largest.index)
                                                 : draw(changed, largest.value, options, index);
  return {token, static_cast<float>(logits[static_cast<size_t>(token)] - log_sum)};
}

double log_probability(std::span<const float> logits, int32_t token) {
  const ops::cpu::LargestLogit largest = sound_largest(logits);
  TRIREME_CHECK(token >= 0 && token < std::ssize(logits));
  return static_cast<double>(logits[static_cast<size_t>(token)]) - largest.value -
         std::log(ops::cpu::sum_of_exps(logits, largest.value));
}

}  // namespace trireme
