#include "models/inference/likeliest_tokens.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "runtime/ops/cpu/logit_rows.h"

namespace trireme {

namespace {

constexpr int64_t kMaximaWidth = ops::cpu::kMaximaBlock;

std::vector<float> maxima_of(std::span<const float> logits) {
  std::vector<float> maxima(static_cast<size_t>((std::ssize(logits) + kMaximaWidth - 1) / kMaximaWidth));
  ops::cpu::block_maxima(logits, maxima);
  return maxima;
}

std::vector<RankedToken> gather_from(std::span<const float> logits, std::span<const float> maxima,
                                     float bound) {
  std::vector<RankedToken> found;
  for (size_t b = 0; b < maxima.size(); ++b) {
    if (maxima[b] < bound) continue;
    const size_t end = std::min(logits.size(), (b + 1) * static_cast<size_t>(kMaximaWidth));
    for (size_t i = b * static_cast<size_t>(kMaximaWidth); i < end; ++i) {
      if (logits[i] >= bound) found.push_back({logits[i], static_cast<int32_t>(i)});
    }
  }
  return found;
}

/// All logits of at least the k-th largest of the blocks' maxima: k blocks have one, so that the k likeliest
/// are among them, and rarely many more.
std::vector<RankedToken> likely_candidates(std::span<const float> logits, int64_t k) {
  const std::vector<float> maxima = maxima_of(logits);
  float bound = kKeepAll.logit;
  if (k < std::ssize(maxima)) {
    std::vector<float> ranked = maxima;
    std::ranges::nth_element(ranked, ranked.begin() + k - 1, std::greater<>());
    bound = ranked[static_cast<size_t>(k - 1)];
  }
  return gather_from(logits, maxima, bound);
}

/// The k likeliest (k is at most their number), in no order.
std::vector<RankedToken> likeliest(std::span<const float> logits, int64_t k) {
  std::vector<RankedToken> found = likely_candidates(logits, k);
  if (std::ssize(found) > k) {
    std::ranges::nth_element(found, found.begin() + k - 1, is_likelier);
    found.resize(static_cast<size_t>(k));
  }
  return found;
}

double sum_of(std::span<const RankedToken> tokens, float largest) {
  double sum = 0;
  for (const RankedToken& t : tokens) sum += std::exp(static_cast<double>(t.logit) - largest);
  return sum;
}

/// A few that have the share top_p together, as those of trained models mostly do; else all that may be of
/// the likeliest with that share: no token below (1 - top_p) / V of the sum is.
std::vector<RankedToken> nucleus_candidates(std::span<const float> logits, float largest, double sum,
                                            double top_p) {
  constexpr int64_t kFew = 1024;
  constexpr double kMargin = 1e-3;  // of the rounding of logs and sums
  std::vector<RankedToken> found = likeliest(logits, std::min(kFew, std::ssize(logits)));
  if (sum_of(found, largest) >= (top_p + kMargin * (1 - top_p)) * sum) return found;
  const double least = (1 - top_p) * sum / static_cast<double>(logits.size());
  const double bound = static_cast<double>(largest) + std::log(least) - kMargin;
  return tokens_from(logits, static_cast<float>(bound));
}

/// The last of the likeliest tokens that have `wanted` of the weights exp(logit - largest) together, by
/// halves instead of by sorting.
RankedToken nucleus_end(std::span<RankedToken> tokens, float largest, double wanted) {
  constexpr size_t kFew = 32;
  while (tokens.size() > kFew) {
    const size_t half = tokens.size() / 2;
    std::ranges::nth_element(tokens, tokens.begin() + static_cast<ptrdiff_t>(half), is_likelier);
    const double sum = sum_of(tokens.first(half), largest);
    if (sum >= wanted) {
      tokens = tokens.first(half);
    } else {
      wanted -= sum;
      tokens = tokens.subspan(half);
    }
  }
  std::ranges::sort(tokens, is_likelier);
  for (const RankedToken& t : tokens) {
    wanted -= sum_of({&t, 1}, largest);
    if (wanted <= 0) return t;
  }
  return tokens.back();
}

}  // namespace

std::vector<RankedToken> tokens_from(std::span<const float> logits, float bound) {
  return gather_from(logits, maxima_of(logits), bound);
}

std::vector<RankedToken> likeliest_tokens(std::span<const float> logits, int64_t count) {
  count = std::min(count, std::ssize(logits));
  if (count <= 0) return {};
  std::vector<RankedToken> found = likeliest(logits, count);
  std::ranges::sort(found, is_likelier);
  return found;
}

RankedToken last_kept(std::span<const float> logits, float largest, const SamplingOptions& options) {
  const int64_t vocab = std::ssize(logits);
  RankedToken last = kKeepAll;
  std::vector<RankedToken> tokens;
  const bool takes_k = options.top_k > 0 && options.top_k < vocab;
  if (takes_k) {
    tokens = likeliest(logits, options.top_k);
    last = *std::ranges::max_element(tokens, is_likelier);
  }
  if (options.top_p < 1) {
    double sum = 0;
    if (takes_k) {
      sum = sum_of(tokens, largest);
    } else {
      sum = ops::cpu::sum_of_exps(logits, largest);
      tokens = nucleus_candidates(logits, largest, sum, options.top_p);
    }
    last = nucleus_end(tokens, largest, options.top_p * sum);
  }
  if (options.min_p > 0) {
    const double bound = static_cast<double>(largest) + std::log(options.min_p);
    auto least = static_cast<float>(bound);
    if (least < bound) least = std::nextafter(least, std::numeric_limits<float>::infinity());
    least = std::min(least, largest);
    if (least > last.logit) last = {least, kKeepAll.token};
  }
  return last;
}

}  // namespace trireme
