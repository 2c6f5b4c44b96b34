// The tokens that follow some sequences, from a forward pass' logits.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/inference/sampling.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// Logits [n, V], f32, where the host can read them.
class HostLogits {
 public:
  /// Waits for the device. Of each row the first `vocab_size` count. `logits` outlives it.
  HostLogits(Context& ctx, const Tensor& logits, int64_t vocab_size);

  int64_t num_rows() const { return num_rows_; }
  std::span<const float> row(int64_t index) const;

 private:
  int64_t num_rows_, width_, vocab_size_;
  std::vector<float> copied_;
  const float* values_;
};

/// work(i) for all i below `count`, side by side; then throws what the first of those that threw has thrown.
void for_each_row(Context& ctx, int64_t count, const std::function<void(int64_t)>& work);

/// What a token is drawn for.
struct DrawnSequence {
  const SamplingOptions* sampling = nullptr;
  std::span<const int32_t> prompt, text;
};

/// One of each row of logits[n, V], f32, among its first `vocab_size`: draw_token(). Waits for the device;
/// rows are drawn side by side.
std::vector<int32_t> draw_tokens(Context& ctx, const Tensor& logits, int64_t vocab_size,
                                 std::span<const DrawnSequence> sequences);

}  // namespace trireme
