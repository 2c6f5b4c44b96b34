#include "launch/evaluate/text_score.h"

#include <algorithm>

#include "launch/evaluate/text_windows.h"
#include "runtime/data/tokens/token_source.h"

namespace trireme::launch {

namespace {

int64_t bytes_of_targets(const Tokenizer& tokenizer, const std::string& text, std::span<const int32_t> ids,
                         bool begins) {
  const auto size = static_cast<int64_t>(text.size());
  if (begins) return size;
  return std::max<int64_t>(1, size - std::ssize(tokenizer.decode(ids.first(1))));
}

}  // namespace

TextScore score_text(Context& ctx, CachedModel& model, CachedModel* reference, const Tokenizer& tokenizer,
                     const ScoredText& text, int64_t vocab_size, const PassLimits& limits) {
  const std::vector<int32_t> ids = tokenizer.encode(text.text);
  check_ids(ids, vocab_size, "the text", 0);
  const auto begin_ids = text.begins ? tokenizer.begin_ids() : std::span<const int32_t>();
  const TextWindows windows = windows_of(ids, text.seq_len, begin_ids);
  const TokenScores scores = score_tokens(ctx, model, reference, windows.sequences, windows.targets, limits);
  TextScore score;
  score.num_tokens = std::ssize(windows.targets);
  score.num_bytes = bytes_of_targets(tokenizer, text.text, ids, text.begins);
  score.num_windows = std::ssize(windows.sequences);
  const auto loss_of = [&](std::span<const float> losses) {
    LossOfText loss;
    loss.loss = sample_mean(losses);
    const double sum = sum_as_training(ctx, losses, windows.window, text.micro_batch, vocab_size);
    loss.loss.mean = sum / static_cast<double>(score.num_tokens);
    loss.nats_per_byte = sum / static_cast<double>(score.num_bytes);
    return loss;
  };
  score.model = loss_of(scores.losses);
  if (reference == nullptr) return score;
  constexpr double kShares[] = {0.5, 0.99, 1};
  const std::vector<double> quantiles = quantiles_of(scores.divergences, kShares);
  score.distance = {.reference = loss_of(scores.reference_losses),
                    .divergence = sample_mean(scores.divergences),
                    .median = quantiles[0],
                    .percentile_99 = quantiles[1],
                    .largest = quantiles[2],
                    .same_top = sample_mean(scores.same_top)};
  return score;
}

}  // namespace trireme::launch
