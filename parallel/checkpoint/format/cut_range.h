// Flat ranges as boxes: ZeRO shards flat buffers, so a rank owns a run of a parameter's elements that need
// not be a box. It is cut into boxes and never gathered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/slice.h"
#include "parallel/module/local_ranges.h"

namespace trireme {

/// A box of the tensor whose elements lie one after the other in the run.
struct BoxOfRun {
  Box box;
  int64_t begin;  ///< of its first element in the run
};

/// Cuts the elements [begin, end), row-major, of the block `block` into boxes that are each a piece of the
/// run: in its order, disjoint, together the run, and as few as can be, at most 2 * rank - 1.
std::vector<BoxOfRun> cut_range(const Box& block, int64_t begin, int64_t end);

/// A slice, and where its elements lie in a buffer of the parameter's group.
struct SliceInBuffer {
  Slice slice;
  int64_t begin;
};

/// The slices that a range of a parameter is, under the name of the state that the buffer holds.
std::vector<SliceInBuffer> slices_of(const LocalRange& range, const std::string& name, DType dtype);

}  // namespace trireme
