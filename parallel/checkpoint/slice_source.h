// Slices of the state that this rank writes, and how their bytes come to the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "parallel/checkpoint/format/proof_hash.h"
#include "parallel/checkpoint/format/slice.h"
#include "runtime/device/context.h"

namespace trireme {

struct SliceSource {
  Slice slice;
  /// Gives `stream` a copy of the bytes from number `begin` of its packed elements on, as many as `to` has. A
  /// stream of the host has made it when this returns. From any thread.
  std::function<void(Stream& stream, int64_t begin, std::span<std::byte> to)> copy;
  /// Where its elements lie packed, in the memory of the context's device; null: only copies are to be had.
  const std::byte* memory = nullptr;
};

/// Of the slices as they are now, as this rank's part: what a save would count. On the host in place where it
/// can, with the context's threads; else of copies by its stream, which it waits for.
ProofHash proof_of(Context& ctx, std::span<const SliceSource> sources);

}  // namespace trireme
