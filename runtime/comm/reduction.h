// The arithmetic of reductions on the CPU.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/comm/communicator.h"

namespace trireme {

/// out[i] = parts[0][i] op parts[1][i] op ... for i in [0, count), in this order; bf16 and f16 in fp32,
/// rounded once; integers wrap. All arrays hold `count` elements of `dtype` (not of one byte); `out` may be
/// one of the parts. max and min of a NaN are unspecified.
void reduce_in_order(ReduceOp op, DType dtype, std::span<const std::byte* const> parts, int64_t count,
                     std::byte* out);

}  // namespace trireme
