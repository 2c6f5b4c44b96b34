#include "models/config/context_parallel_errors.h"

#include <fmt/format.h>

#include "parallel/plan/nearest.h"

namespace trireme {

namespace {

bool fits(int64_t seq_len, int64_t context) { return context == 1 || seq_len % (2 * context) == 0; }

}  // namespace

std::vector<std::string> context_parallel_errors(int64_t seq_len, int64_t max_seq_len, int context) {
  if (context < 1 || fits(seq_len, context)) return {};
  const int64_t chunks = 2 * int64_t{context};
  return {fmt::format(
      "train.seq-len {} does not divide by 2 x parallel.context {} = {}: nearest are --train.seq-len {}, or "
      "--parallel.context {}",
      seq_len, context, chunks, nearest_multiples(chunks, seq_len, max_seq_len),
      nearest_that_fit(context, seq_len / 2, [&](int64_t degree) { return fits(seq_len, degree); }))};
}

}  // namespace trireme
