// The tokens that follow some sequences, from a forward pass' logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/inference/sampling.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// What a token is drawn for.
struct DrawnSequence {
  const SamplingOptions* sampling = nullptr;
  std::span<const int32_t> prompt, text;
};

/// One of each row of logits[n, V], f32, among its first `vocab_size`: sample_token(). Waits for the device;
/// rows are drawn side by side.
std::vector<SampledToken> draw_tokens(Context& ctx, const Tensor& logits, int64_t vocab_size,
                                      std::span<const DrawnSequence> sequences);

}  // namespace trireme
