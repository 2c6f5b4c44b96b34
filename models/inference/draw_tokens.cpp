#include "models/inference/draw_tokens.h"

#include <exception>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

HostLogits::HostLogits(Context& ctx, const Tensor& logits, int64_t vocab_size)
    : num_rows_(logits.dim(0)), width_(logits.dim(1)), vocab_size_(vocab_size) {
  TRIREME_CHECK(vocab_size > 0 && vocab_size <= width_, "{} tokens of logits {}", vocab_size,
                to_string(logits.shape()));
  const bool is_here = logits.device().type == DeviceType::cpu;
  if (!is_here) copied_ = ops::to_host<float>(ctx, logits);
  values_ = is_here ? logits.data<float>() : copied_.data();
}

std::span<const float> HostLogits::row(int64_t index) const {
  TRIREME_CHECK(index >= 0 && index < num_rows_, "row {} of {}", index, num_rows_);
  return {values_ + index * width_, static_cast<size_t>(vocab_size_)};
}

void for_each_row(Context& ctx, int64_t count, const std::function<void(int64_t)>& work) {
  std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
  parallel_for(ctx.num_threads(), count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      try {
        work(i);
      } catch (...) {
        errors[static_cast<size_t>(i)] = std::current_exception();
      }
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

std::vector<int32_t> draw_tokens(Context& ctx, const Tensor& logits, int64_t vocab_size,
                                 std::span<const DrawnSequence> sequences) {
  const HostLogits rows(ctx, logits, vocab_size);
  TRIREME_CHECK(rows.num_rows() == std::ssize(sequences), "{} tokens from {} rows of logits",
                sequences.size(), rows.num_rows());
  std::vector<int32_t> tokens(sequences.size());
  for_each_row(ctx, rows.num_rows(), [&](int64_t i) {
    const DrawnSequence& s = sequences[static_cast<size_t>(i)];
    tokens[static_cast<size_t>(i)] =
        draw_token(rows.row(i), vocab_size, *s.sampling, s.prompt, s.text, std::ssize(s.text));
  });
  return tokens;
}

}  // namespace trireme
