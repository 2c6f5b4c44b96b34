#include "models/config/context_parallel_errors.h"

#include <algorithm>

#include <fmt/format.h>

#include "parallel/plan/nearest.h"

namespace trireme {

namespace {

bool fits(int64_t seq_len, int64_t context) { return context == 1 || seq_len % (2 * context) == 0; }

}  // namespace

std::vector<std::string> context_parallel_errors(int64_t seq_len, int64_t max_seq_len, int context,
                                                 int64_t kernel) {
  if (context < 1) return {};
  const int64_t chunks = 2 * int64_t{context};
  if (fits(seq_len, context)) {
    if (context == 1 || seq_len / chunks >= kernel - 1) return {};
    return {
        fmt::format("model.convolution {}: of train.seq-len {} the ranks of parallel.context {} hold chunks "
                    "of {} tokens, "
                    "and one looks at {} before its own; use --train.seq-len {} or more, or "
                    "--parallel.context {} or less",
                    kernel, seq_len, context, seq_len / chunks, kernel - 1, chunks * (kernel - 1),
                    std::max<int64_t>(1, seq_len / (2 * (kernel - 1))))};
  }
  return {fmt::format(
      "train.seq-len {} does not divide by 2 x parallel.context {} = {}: nearest are --train.seq-len {}, or "
      "--parallel.context {}",
      seq_len, context, chunks, nearest_multiples(chunks, seq_len, max_seq_len),
      nearest_that_fit(context, seq_len / 2, [&](int64_t degree) { return fits(seq_len, degree); }))};
}

}  // namespace trireme
