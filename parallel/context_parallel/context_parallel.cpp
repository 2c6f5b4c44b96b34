#include "parallel/context_parallel/context_parallel.h"

#include <algorithm>

namespace trireme {

std::array<Part, 2> ContextShare::tokens(int64_t seq_len) const {
  const int64_t chunks = 2 * int64_t{size};
  TRIREME_CHECK(size == 1 || seq_len % chunks == 0, "{} tokens do not divide into {} chunks", seq_len,
                chunks);
  const auto chunk = [&](int64_t c) { return Part{seq_len * c / chunks, seq_len * (c + 1) / chunks}; };
  return {chunk(rank), chunk(chunks - 1 - rank)};
}

SeenKeys ContextShare::seen_of(int owner, int64_t held) const {
  TRIREME_CHECK(owner != rank && held % 2 == 0, "{} tokens of rank {} for rank {}", held, owner, rank);
  const Part all{0, held};
  return owner < rank ? SeenKeys{all, {0, held / 2}} : SeenKeys{{held / 2, held}, all};
}

std::vector<SeenKeys> ContextShare::seen_within(int64_t window, int owner, int64_t held,
                                                std::span<const int32_t> chunk_first_keys) const {
  TRIREME_CHECK(window >= 0 && held % 2 == 0, "{} tokens of a rank, a window of {}", held, window);
  const int64_t chunk = held / 2;
  // Where the early and the late chunk of a rank lie in the sequence, and in what the rank holds.
  const auto chunks_of = [&](int of) { return std::array<int64_t, 2>{of, 2 * int64_t{size} - 1 - of}; };
  const auto part = [&](size_t i) {
    const auto at = static_cast<int64_t>(i);
    return Part{at * chunk, (at + 1) * chunk};
  };
  std::vector<SeenKeys> seen;
  for (size_t q = 0; q < 2; ++q) {
    for (size_t k = 0; k < 2; ++k) {
      const int64_t queries = chunks_of(rank)[q], keys = chunks_of(owner)[k];
      const int64_t shift = (queries - keys) * chunk;
      if (shift < 0) continue;
      // No later query of the chunk sees further back than the first one.
      int64_t first = window > 0 ? queries * chunk - window + 1 : 0;
      if (!chunk_first_keys.empty())
        first = std::max<int64_t>(first, chunk_first_keys[static_cast<size_t>(queries)]);
      const int64_t hidden = std::max<int64_t>(first - keys * chunk, 0);
      if (hidden >= chunk) continue;
      const Part held_keys = part(k);
      seen.push_back({part(q), {held_keys.begin + hidden, held_keys.end}, shift, keys * chunk + hidden});
    }
  }
  return seen;
}

}  // namespace trireme
