// A text as sequences that a model predicts, each without view of those before it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "launch/evaluate/logit_passes.h"

namespace trireme::launch {

struct TextWindows {
  std::vector<KnownSequence> sequences;
  std::vector<int32_t> targets;  ///< tokens of the text in order; without `begin_ids` all but the first
  int64_t window = 0;            ///< targets of a sequence; the last may have fewer
};

/// Windows of `seq_len` tokens as training evaluates (run/text_loss.h). With `begin_ids`, each begins with
/// them, and its first token is predicted too. UserError (usage) where a window has no room for a token, or
/// the text for a target.
TextWindows windows_of(std::span<const int32_t> ids, int64_t seq_len, std::span<const int32_t> begin_ids);

/// The sum of the losses of windows' targets, in the order in which an evaluation in training adds up those
/// of micro-batches of `micro_batch` samples on one rank: the bits of its sum.
double sum_as_training(Context& ctx, std::span<const float> losses, int64_t window, int64_t micro_batch,
                       int64_t vocab_size);

}  // namespace trireme::launch
