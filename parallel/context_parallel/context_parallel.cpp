#include "parallel/context_parallel/context_parallel.h"

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

}  // namespace trireme
