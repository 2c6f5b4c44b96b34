#include "launch/compress/measure.h"

#include <algorithm>
#include <cmath>

#include "launch/evaluate/text_windows.h"
#include "launch/evaluate/token_scores.h"
#include "models/inference/generator.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int64_t kMeasuringBlock = 32, kPromptTokens = 8;

/// In double over all tokens, whatever their number.
SampleMean checked_mean(const std::vector<float>& values, const char* what) {
  const SampleMean mean = sample_mean(values);
  if (!std::isfinite(mean.mean))
    throw_user(ExitCode::numerics, "the {} of the model is {}: its logits are not finite", what, mean.mean);
  return mean;
}

}  // namespace

StepFigures measure_loss(Context& ctx, InferenceModel& model, InferenceModel* base, const Measuring& on) {
  const PassLimits limits = pass_limits(on.seq_len, on.vocab_size, on.batch_tokens, ops::CacheType::plain);
  CachedModel cached(ctx, model.parallel(), model.model(), limits.cache);
  std::optional<CachedModel> reference;
  if (base != nullptr) reference.emplace(ctx, base->parallel(), base->model(), limits.cache);
  const TextWindows windows = windows_of(on.ids, on.seq_len, {});
  const TokenScores scores = score_tokens(ctx, cached, reference ? &*reference : nullptr, windows.sequences,
                                          windows.targets, limits);
  StepFigures figures;
  figures.loss = checked_mean(scores.losses, "loss");
  if (base == nullptr) return figures;
  constexpr double kShare[] = {0.99};
  figures.divergence = checked_mean(scores.divergences, "divergence");
  figures.divergence_99 = quantiles_of(scores.divergences, kShare)[0];
  figures.same_top = sample_mean(scores.same_top);
  return figures;
}

double decode_speed(Context& ctx, InferenceModel& model, const Measuring& on) {
  const int64_t longest = std::min(on.seq_len, kPromptTokens + on.decode_tokens + 1);
  const int64_t prompt = std::min({kPromptTokens, std::ssize(on.ids), longest - 2});
  if (prompt < 1) return 0;
  CachedModel cached(
      ctx, model.parallel(), model.model(),
      {.num_blocks = (longest + kMeasuringBlock) / kMeasuringBlock, .block_tokens = kMeasuringBlock});
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    Generator generator(ctx, model.parallel(), cached, {.max_sequences = 1, .vocab_size = on.vocab_size});
    generator.add({.prompt = {on.ids.begin(), on.ids.begin() + prompt}, .max_tokens = longest - prompt});
    while (generator.step([](const GeneratedToken&) { return false; })) {
    }
    const GenerationCounts counts = generator.counts();
    // The first token comes of the prompt's pass.
    if (counts.decode_seconds > 0)
      best = std::max(best, static_cast<double>(counts.decoded_tokens - 1) / counts.decode_seconds);
  }
  return best;
}

}  // namespace trireme::launch
