#include "launch/evaluate/text_windows.h"

#include <algorithm>

#include "models/config/loss_config.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

TextWindows windows_of(std::span<const int32_t> ids, int64_t seq_len, std::span<const int32_t> begin_ids) {
  const bool begins = !begin_ids.empty();
  TextWindows windows;
  windows.window = begins ? seq_len - std::ssize(begin_ids) + 1 : seq_len;
  if (windows.window < 1)
    throw_usage("--seq-len {}: the {} tokens that a text begins with leave no room", seq_len,
                begin_ids.size());
  const auto inputs = begins ? ids : ids.first(ids.empty() ? 0 : ids.size() - 1);
  if (inputs.empty()) throw_usage("a text of {} tokens predicts nothing: two are the least", ids.size());
  const std::span<const int32_t> targets = begins ? ids : ids.subspan(1);
  windows.targets.assign(targets.begin(), targets.end());
  const auto step = static_cast<size_t>(windows.window);
  for (size_t at = 0; at < targets.size(); at += step) {
    const size_t count = std::min(step, targets.size() - at);
    KnownSequence& sequence = windows.sequences.emplace_back();
    sequence.tokens.assign(begin_ids.begin(), begin_ids.end());
    const auto seen = begins ? ids.subspan(at, count - 1) : ids.subspan(at, count);
    sequence.tokens.insert(sequence.tokens.end(), seen.begin(), seen.end());
    sequence.first_logit = begins ? std::ssize(begin_ids) - 1 : 0;
  }
  return windows;
}

double sum_as_training(Context& ctx, std::span<const float> losses, int64_t window, int64_t micro_batch,
                       int64_t vocab_size) {
  const int64_t num_windows = (std::ssize(losses) + window - 1) / window;
  const int64_t rows = std::min(micro_batch, num_windows) * window;
  const int64_t at_once =
      LossConfig().rows_at_once(rows, aligned_row_stride(vocab_size) * static_cast<int64_t>(sizeof(float)));
  const Tensor sum = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sum, 0);
  for (int64_t begin = 0; begin < std::ssize(losses); begin += rows) {
    for (int64_t at = 0; at < rows; at += at_once) {
      std::vector<float> some(static_cast<size_t>(std::min(at_once, rows - at)));  // 0 behind the last
      const int64_t first = std::min(begin + at, std::ssize(losses)),
                    end = std::min(first + std::ssize(some), std::ssize(losses));
      std::copy(losses.begin() + first, losses.begin() + end, some.begin());
      ops::add_sum(ctx, ops::to_device(ctx, some, {std::ssize(some)}), sum);
    }
  }
  return ops::value_of<double>(ctx, sum);
}

}  // namespace trireme::launch
