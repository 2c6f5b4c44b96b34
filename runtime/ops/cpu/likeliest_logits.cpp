#include "runtime/ops/cpu/likeliest_logits.h"

#include <algorithm>
#include <functional>

#include "runtime/ops/cpu/logit_rows.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kMaximaWidth = kMaximaBlock;

std::vector<float> maxima_of(std::span<const float> logits) {
  std::vector<float> maxima(static_cast<size_t>((std::ssize(logits) + kMaximaWidth - 1) / kMaximaWidth));
  block_maxima(logits, maxima);
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

}  // namespace

std::vector<RankedToken> select_likeliest(std::span<const float> logits, int64_t k) {
  std::vector<RankedToken> found = likely_candidates(logits, k);
  if (std::ssize(found) > k) {
    std::ranges::nth_element(found, found.begin() + k - 1, is_likelier);
    found.resize(static_cast<size_t>(k));
  }
  return found;
}

std::vector<RankedToken> tokens_from(std::span<const float> logits, float bound) {
  return gather_from(logits, maxima_of(logits), bound);
}

std::vector<RankedToken> likeliest_tokens(std::span<const float> logits, int64_t count) {
  count = std::min(count, std::ssize(logits));
  if (count <= 0) return {};
  std::vector<RankedToken> found = select_likeliest(logits, count);
  std::ranges::sort(found, is_likelier);
  return found;
}

}  // namespace trireme::ops::cpu
