// What a model loses against another on a text, and how fast it decodes.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/compress/gates.h"
#include "models/inference/inference_model.h"

namespace trireme::launch {

struct Measuring {
  std::vector<int32_t> ids;    ///< at least two
  int64_t seq_len = 0;         ///< of windows, each without view of those before it
  int64_t vocab_size = 0;      ///< rows of the token table
  int64_t batch_tokens = 512;  ///< of a pass
  int64_t decode_tokens = 64;  ///< whose speed is measured
};

/// Loss, and with a `base` the distance from it. Names, bytes and speed are left to others. All ranks call it
/// alike and get the same. UserError (numerics) for logits that are not finite.
StepFigures measure_loss(Context& ctx, InferenceModel& model, InferenceModel* base, const Measuring& on);

/// Tokens a second of one sequence, the best of three; all ranks call it alike and get their own.
double decode_speed(Context& ctx, InferenceModel& model, const Measuring& on);

}  // namespace trireme::launch
