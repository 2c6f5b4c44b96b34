// How well a model predicts a text.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "models/session/training_session.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch {

struct TextLoss {
  double loss = std::numeric_limits<double>::quiet_NaN();  ///< nats: mean over the tokens that are predicted
  int64_t num_tokens = 0;                                  ///< that are: all but the first of the text
  double perplexity() const { return std::exp(loss); }
};

/// How ids are cut: in samples of `seq_len` tokens, as validation data are, each without view of those
/// before it; the last may be shorter.
struct TextSamples {
  int64_t seq_len = 0;
  int64_t micro_batch = 1;                  ///< most samples of a rank at once
  std::optional<int32_t> end_of_text = {};  ///< documents that this token ends do not see each other
};

/// The mean cross-entropy of rank 0's `ids`; nothing is trained. All ranks call it, between steps. UserError
/// (usage), on all ranks, for fewer than two ids, (bad_input) for ids outside the vocabulary.
TextLoss text_loss(TrainingSession& session, Communicator& world, std::span<const int32_t> ids,
                   const TextSamples& samples);

}  // namespace trireme::launch
