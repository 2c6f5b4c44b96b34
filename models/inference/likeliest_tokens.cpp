#include "models/inference/likeliest_tokens.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "runtime/ops/cpu/logit_rows.h"

namespace trireme {

namespace {

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
  std::vector<RankedToken> found = select_likeliest(logits, std::min(kFew, std::ssize(logits)));
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

RankedToken last_kept(std::span<const float> logits, float largest, const SamplingOptions& options) {
  const int64_t vocab = std::ssize(logits);
  RankedToken last = kKeepAll;
  std::vector<RankedToken> tokens;
  const bool takes_k = options.top_k > 0 && options.top_k < vocab;
  if (takes_k) {
    tokens = select_likeliest(logits, options.top_k);
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
