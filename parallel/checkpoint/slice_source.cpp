#include "parallel/checkpoint/slice_source.h"

#include <algorithm>
#include <vector>

#include "runtime/base/parallel_for.h"

namespace trireme {

namespace {

struct Chunk {
  const SliceSource* source;
  int64_t begin, bytes;
};

std::vector<Chunk> chunks_of(std::span<const SliceSource> sources, int64_t most) {
  std::vector<Chunk> chunks;
  for (const SliceSource& source : sources) {
    const int64_t bytes = source.slice.bytes();
    for (int64_t at = 0; at < bytes; at += most) chunks.push_back({&source, at, std::min(most, bytes - at)});
  }
  return chunks;
}

/// Waits for the stream.
std::span<const std::byte> copied(Context& ctx, const Chunk& chunk, std::span<std::byte> to) {
  to = to.first(static_cast<size_t>(chunk.bytes));
  chunk.source->copy(ctx.stream(), chunk.begin, to);
  ctx.stream().synchronize();
  return to;
}

}  // namespace

ProofHash proof_of(Context& ctx, std::span<const SliceSource> sources) {
  constexpr int64_t kChunkBytes = int64_t{1} << 18;  // hashed while they are in the cache
  const std::vector<Chunk> chunks = chunks_of(sources, kChunkBytes);
  const bool is_on_host = ctx.device().type == DeviceType::cpu;
  const int64_t num_threads = is_on_host ? ctx.num_threads() : 1;  // a stream takes one copy after the other
  std::vector<ProofHash> proofs(static_cast<size_t>(num_threads));
  std::vector<std::byte> copies(static_cast<size_t>(num_threads * kChunkBytes));
  parallel_for(static_cast<int>(num_threads), num_threads, 1, [&](int64_t thread, int64_t) {
    const auto own = std::span(copies).subspan(static_cast<size_t>(thread * kChunkBytes), kChunkBytes);
    const auto count = std::ssize(chunks);
    for (int64_t i = count * thread / num_threads; i < count * (thread + 1) / num_threads; ++i) {
      const Chunk& chunk = chunks[static_cast<size_t>(i)];
      const SliceSource& source = *chunk.source;
      const auto bytes = is_on_host && source.memory != nullptr
                             ? std::span(source.memory + chunk.begin, static_cast<size_t>(chunk.bytes))
                             : copied(ctx, chunk, own);
      proofs[static_cast<size_t>(thread)].add(
          source.slice, chunk.begin / static_cast<int64_t>(size_of(source.slice.dtype)), bytes);
    }
  });
  ProofHash proof;
  for (const ProofHash& of_thread : proofs) proof += of_thread;
  return proof;
}

}  // namespace trireme
