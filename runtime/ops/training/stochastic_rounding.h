// Stochastic rounding of weights that are kept in bf16 alone.
#pragma once

#include <span>

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// Which elements of a model the elements [begin, end) of flat tensors are: those from `first` on of the
/// block of extent `shape` at `offset` of a global tensor.
struct ElementRange {
  int64_t begin = 0, end = 0;
  uint64_t key = 0;  ///< of the global tensor's random numbers: stream_key(seed, name)
  Shape global, offset, shape;
  int64_t first = 0;
};

/// The ranges are ordered, disjoint, within [0, numel) and within their blocks.
void expect_ranges(const char* op, int64_t numel, std::span<const ElementRange> ranges);

/// y = x rounded up or down, up with the probability of the remainder, so that steps smaller than half a unit
/// of the last place are not lost on average (Gupta et al., arXiv 1502.02551; for bf16 without masters
/// Zamirai et al., arXiv 2010.06192). Global element g draws 16 bits: half g % 2 (the lower first) of word g
/// % 8 / 2 of philox4x32(key, g / 8, number), where number ([1] f64) is that of the update. x: f32, y: bf16,
/// as many elements. Elements outside of all `ranges` are padding and are rounded down. Infinity and NaN stay
/// what they are, and so does what bf16 can hold.
void round_stochastically(Context& ctx, const Tensor& x, const Tensor& number,
                          std::span<const ElementRange> ranges, const Tensor& y);
TRIREME_OP_BODIES(round_stochastically, Context& ctx, const Tensor& x, const Tensor& number,
                  std::span<const ElementRange> ranges, const Tensor& y)

}  // namespace trireme::ops
