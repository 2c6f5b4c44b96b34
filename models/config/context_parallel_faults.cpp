#include "models/config/context_parallel_faults.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme {

namespace {

bool fits(int64_t seq_len, int64_t context) { return context == 1 || seq_len % (2 * context) == 0; }

/// "32 or 48".
std::string nearest_lengths(int64_t seq_len, int64_t max_seq_len, int64_t chunks) {
  const int64_t below = seq_len / chunks * chunks, above = below + chunks;
  if (below == 0) return fmt::format("{}", above);
  return above > max_seq_len ? fmt::format("{}", below) : fmt::format("{} or {}", below, above);
}

std::string nearest_degrees(int64_t seq_len, int64_t context) {
  const int64_t most = seq_len / 2;
  int64_t below = std::clamp<int64_t>(most, 1, context), above = context;
  while (!fits(seq_len, below)) --below;
  while (above <= most && !fits(seq_len, above)) ++above;
  return above > most ? fmt::format("{}", below) : fmt::format("{} or {}", below, above);
}

}  // namespace

std::vector<std::string> context_parallel_faults(int64_t seq_len, int64_t max_seq_len, int context) {
  if (context < 1 || fits(seq_len, context)) return {};
  const int64_t chunks = 2 * int64_t{context};
  return {fmt::format(
      "train.seq-len {} does not divide by 2 x parallel.context {} = {}: nearest are --train.seq-len {}, or "
      "--parallel.context {}",
      seq_len, context, chunks, nearest_lengths(seq_len, max_seq_len, chunks),
      nearest_degrees(seq_len, context))};
}

}  // namespace trireme
