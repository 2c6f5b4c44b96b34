#include "parallel/checkpoint/slice_source.h"

#include <algorithm>
#include <vector>

namespace trireme {

ProofHash proof_of(Stream& stream, std::span<const SliceSource> sources) {
  constexpr int64_t kChunkBytes = int64_t{1} << 18;  // hashed while they are in the cache
  ProofHash proof;
  std::vector<std::byte> chunk(static_cast<size_t>(kChunkBytes));
  for (const SliceSource& source : sources) {
    const int64_t bytes = source.slice.bytes();
    const auto element = static_cast<int64_t>(size_of(source.slice.dtype));
    for (int64_t at = 0; at < bytes; at += kChunkBytes) {
      const auto part = std::span(chunk).first(static_cast<size_t>(std::min(kChunkBytes, bytes - at)));
      source.copy(stream, at, part);
      stream.synchronize();
      proof.add(source.slice, at / element, part);
    }
  }
  return proof;
}

}  // namespace trireme
