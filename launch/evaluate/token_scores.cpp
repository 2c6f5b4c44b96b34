#include "launch/evaluate/token_scores.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "launch/evaluate/divergence.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme::launch {

namespace {

int64_t num_logits(std::span<const KnownSequence> sequences) {
  return std::transform_reduce(sequences.begin(), sequences.end(), int64_t{0}, std::plus(),
                               [](const KnownSequence& sequence) { return sequence.num_logits(); });
}

std::vector<float> target_losses(Context& ctx, const Tensor& logits, std::span<const int32_t> targets) {
  const Shape rows{logits.dim(0)};
  const Tensor loss = Tensor::empty(ctx, rows, DType::f32, MemoryCategory::buffers);
  const std::vector<int32_t> ids(targets.begin(), targets.end());
  ops::cross_entropy(ctx, logits, ops::to_device(ctx, ids, rows), {}, loss, {});
  return ops::to_host<float>(ctx, loss);
}

void put(const std::vector<float>& values, int64_t at, std::vector<float>& all) {
  std::ranges::copy(values, all.begin() + at);
}

void score_pass(Context& ctx, const Tensor& logits, const Tensor& reference, std::span<const int32_t> targets,
                int64_t at, TokenScores& scores) {
  put(target_losses(ctx, logits, targets), at, scores.losses);
  if (!reference) return;
  put(target_losses(ctx, reference, targets), at, scores.reference_losses);
  const Divergences found = divergences_of(ctx, logits, reference);
  put(found.divergences, at, scores.divergences);
  put(found.same_top, at, scores.same_top);
}

}  // namespace

TokenScores score_tokens(Context& ctx, CachedModel& model, CachedModel* reference,
                         std::span<const KnownSequence> sequences, std::span<const int32_t> targets,
                         const PassLimits& limits) {
  TRIREME_CHECK(num_logits(sequences) == std::ssize(targets), "{} targets of {} logits", targets.size(),
                num_logits(sequences));
  TokenScores scores;
  std::vector<std::vector<float>*> all = {&scores.losses};
  if (reference != nullptr)
    all.insert(all.end(), {&scores.reference_losses, &scores.divergences, &scores.same_top});
  for (std::vector<float>* values : all) values->resize(targets.size());
  int64_t at = 0;
  for (const LogitPass& pass : plan_passes(sequences, limits)) {
    const int64_t count = pass.num_logits();
    const Tensor logits = logits_of(ctx, model, pass, sequences);
    const Tensor others = reference == nullptr ? Tensor() : logits_of(ctx, *reference, pass, sequences);
    if (count > 0)
      score_pass(ctx, logits, others, targets.subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
                 at, scores);
    at += count;
  }
  return scores;
}

}  // namespace trireme::launch
