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

std::vector<SeenKeys> ContextShare::seen_within(const KeyLimits& limits, int owner, int64_t held,
                                                std::span<const int32_t> chunk_first_keys) const {
  TRIREME_CHECK(limits.window >= 0 && held % 2 == 0, "{} tokens of a rank, a window of {}", held,
                limits.window);
  const int64_t chunk = held / 2;
  // Where the early and the late chunk of a rank lie in the sequence.
  const auto chunks_of = [&](int of) { return std::array<int64_t, 2>{of, 2 * int64_t{size} - 1 - of}; };
  std::vector<SeenKeys> seen;
  for (size_t q = 0; q < 2; ++q) {
    for (size_t k = 0; k < 2; ++k) {
      const int64_t queries = chunks_of(rank)[q], keys = chunks_of(owner)[k];
      if (queries < keys) continue;
      // Places count from the first query's document. Those that begin behind it see nothing of chunks
      // before.
      const int64_t first = chunk_first_keys.empty() ? 0 : chunk_first_keys[static_cast<size_t>(queries)];
      const auto places_of = [&](int64_t c) { return Part{c * chunk - first, (c + 1) * chunk - first}; };
      const Part of_queries = places_of(queries), of_keys = places_of(keys);
      std::vector<Part> parts =
          queries == keys ? std::vector<Part>{of_keys} : limits.seen_by(of_queries, of_keys);
      if (owner == rank && parts.size() > 1) parts = {{parts.front().begin, parts.back().end}};
      const auto held_part = [&](const Part& places, int64_t chunk_begin, size_t at) {
        const int64_t before = static_cast<int64_t>(at) * chunk - chunk_begin;
        return Part{places.begin + before, places.end + before};
      };
      for (const Part& part : parts) {
        const Part seeing{of_queries.begin,
                          queries == keys ? of_queries.end : limits.end_of_sight(of_queries, part)};
        seen.push_back({held_part(seeing, of_queries.begin, q), held_part(part, of_keys.begin, k),
                        seeing.end - part.end, part.begin + first});
      }
    }
  }
  return seen;
}

}  // namespace trireme
