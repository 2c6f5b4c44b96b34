// Perplexity of a text, and how far a model is from another on it.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "launch/evaluate/sample_statistics.h"
#include "launch/evaluate/token_scores.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

struct ScoredText {
  std::string text;
  int64_t seq_len = 0;
  int64_t micro_batch = 8;  ///< of the training whose sum is to be met
  bool begins = false;      ///< each window begins as the tokenizer begins texts
};

struct LossOfText {
  SampleMean loss;  ///< nats per token
  double nats_per_byte = 0;
  double perplexity() const { return std::exp(loss.mean); }
  /// Of the mean loss, carried over: perplexity * error.
  double perplexity_error() const { return perplexity() * loss.error; }
};

/// From a reference, over the tokens that are predicted.
struct DistanceOfText {
  LossOfText reference;
  SampleMean divergence;  ///< KL(reference || model), nats per token
  double median = 0, percentile_99 = 0, largest = 0;
  SampleMean same_top;
};

struct TextScore {
  int64_t num_tokens = 0;  ///< that are predicted
  int64_t num_bytes = 0;   ///< theirs
  int64_t num_windows = 0;
  LossOfText model;
  std::optional<DistanceOfText> distance;
};

/// The mean loss has the bits of an evaluation in training (sum_as_training()). Every rank calls it alike.
/// UserError as Tokenizer::encode(), windows_of(), and (bad_input) for ids outside of the model's vocabulary.
TextScore score_text(Context& ctx, CachedModel& model, CachedModel* reference, const Tokenizer& tokenizer,
                     const ScoredText& text, int64_t vocab_size, const PassLimits& limits);

}  // namespace trireme::launch
