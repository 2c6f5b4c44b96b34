#include "models/inference/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/inference/likeliest_tokens.h"
#include "models/inference/row_scores.h"
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

/// Where the running sum of the weights, which begins with `before`, passes `wanted`; `before` is then that
/// of those in front.
size_t place_of(std::span<const double> weights, double wanted, double& before) {
  size_t last = 0;
  double of_last = before, sum = before;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) last = i, of_last = sum;  // where rounding leaves `wanted` unreached
    sum += weights[i];
    if (sum > wanted) break;
  }
  before = of_last;
  return last;
}

/// Of all tokens: by sums of blocks, and then within one.
int32_t draw_of_all(std::span<const float> logits, float largest, double factor, double part) {
  constexpr size_t kBlock = 512;
  std::vector<double> sums;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const auto block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    sums.push_back(ops::cpu::sum_of_exps(block, largest, factor));
  }
  double sum = 0, before = 0;
  for (const double s : sums) sum += s;
  const double wanted = part * sum;
  const size_t b = place_of(sums, wanted, before);
  const auto block = logits.subspan(b * kBlock, std::min(kBlock, logits.size() - b * kBlock));
  std::vector<double> weights(block.size());
  ops::cpu::exps_of(block, largest, factor, weights);
  return static_cast<int32_t>(b * kBlock + place_of(weights, wanted, before));
}

int32_t draw(std::span<const float> logits, float largest, const SamplingOptions& options, int64_t index) {
  const RankedToken last = last_kept(logits, largest, options);
  const double part = uniform_number(options.seed, index);
  const double factor = std::min(1 / options.temperature, 1e30);
  if (!is_likelier(last, kKeepAll)) return draw_of_all(logits, largest, factor, part);
  std::vector<RankedToken> tokens = tokens_from(logits, last.logit);
  std::erase_if(tokens, [&](const RankedToken& t) { return is_likelier(last, t); });
  std::vector<float> kept;
  for (const RankedToken& t : tokens) kept.push_back(t.logit);
  std::vector<double> weights(kept.size());
  ops::cpu::exps_of(kept, largest, factor, weights);
  double sum = 0, before = 0;
  for (const double w : weights) sum += w;
  return tokens[place_of(weights, part * sum, before)].token;
}

bool changes_logits(const SamplingOptions& o, const TokenLimits& limits) {
  return o.repetition_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0 ||
         !o.logit_bias.empty() || !limits.allowed.empty() || !limits.unwelcome.empty();
}

void add_bias(std::span<float> logits, const SamplingOptions& options) {
  for (const auto& [token, bias] : options.logit_bias) {
    if (token >= 0 && token < std::ssize(logits)) logits[static_cast<size_t>(token)] += bias;
  }
}

constexpr float kNever = -std::numeric_limits<float>::infinity();

void keep_allowed(std::span<float> logits, std::span<const uint64_t> allowed) {
  for (size_t begin = 0; begin < logits.size(); begin += 64) {
    const uint64_t bits = begin / 64 < allowed.size() ? allowed[begin / 64] : 0;
    const auto word = logits.subspan(begin, std::min<size_t>(64, logits.size() - begin));
    if (bits == ~uint64_t{0}) continue;
    if (bits == 0) {
      std::ranges::fill(word, kNever);
      continue;
    }
    for (size_t i = 0; i < word.size(); ++i) {
      if ((bits >> i & 1) == 0) word[i] = kNever;
    }
  }
}

/// Without those that are unwelcome, unless nothing is left.
void leave_out(std::span<float> logits, std::span<const int32_t> unwelcome) {
  std::vector<std::pair<size_t, float>> before;
  for (const int32_t token : unwelcome) {
    if (token < 0 || token >= std::ssize(logits)) continue;
    const auto at = static_cast<size_t>(token);
    before.emplace_back(at, logits[at]);
    logits[at] = kNever;
  }
  if (before.empty() || ops::cpu::largest_logit(logits).value > kNever) return;
  for (auto place = before.rbegin(); place != before.rend(); ++place) logits[place->first] = place->second;
}

/// The logits that a token is drawn from.
std::vector<float> changed_logits(std::span<const float> logits, const SamplingOptions& options,
                                  std::span<const int32_t> prompt, std::span<const int32_t> text,
                                  const TokenLimits& limits) {
  std::vector<float> changed(logits.begin(), logits.end());
  add_bias(changed, options);
  penalize(changed, options, prompt, text);
  if (!limits.allowed.empty()) keep_allowed(changed, limits.allowed);
  leave_out(changed, limits.unwelcome);
  return changed;
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
  // Beyond them logits would become infinite.
  constexpr double kMost = 1e30;
  check(o.repetition_penalty >= 1 / kMost && o.repetition_penalty <= kMost, "repetition-penalty",
        o.repetition_penalty, "above 0, 1e-30 to 1e30; 1 changes nothing");
  check(std::abs(o.presence_penalty) <= kMost, "presence-penalty", o.presence_penalty, "-1e30 to 1e30");
  check(std::abs(o.frequency_penalty) <= kMost, "frequency-penalty", o.frequency_penalty, "-1e30 to 1e30");
  for (const auto& [token, bias] : o.logit_bias)
    check(std::abs(bias) <= static_cast<float>(kMost), "logit-bias", bias, "-1e30 to 1e30");
  return errors;
}

int32_t draw_token(std::span<const float> logits, int64_t vocab_size, const SamplingOptions& options,
                   std::span<const int32_t> prompt, std::span<const int32_t> text, int64_t index,
                   const TokenLimits& limits) {
  logits = logits.first(static_cast<size_t>(std::clamp<int64_t>(vocab_size, 0, std::ssize(logits))));
  std::vector<float> changed;
  if (changes_logits(options, limits)) {
    changed = changed_logits(logits, options, prompt, text, limits);
    logits = changed;
  }
  const ops::cpu::LargestLogit largest = sound_largest(logits);
  return options.temperature == 0 ? static_cast<int32_t>(largest.index)
                                  : draw(logits, largest.value, options, index);
}

SampledToken sample_token(std::span<const float> logits, int64_t vocab_size, const SamplingOptions& options,
                          std::span<const int32_t> prompt, std::span<const int32_t> text, int64_t index) {
  logits = logits.first(static_cast<size_t>(std::clamp<int64_t>(vocab_size, 0, std::ssize(logits))));
  const int32_t token = draw_token(logits, vocab_size, options, prompt, text, index);
  return RowScores(logits).score(token);
}

double log_probability(std::span<const float> logits, int32_t token) {
  TRIREME_CHECK(token >= 0 && token < std::ssize(logits));
  return RowScores(logits).log_probability(token);
}

}  // namespace trireme
