// Random bits of weights that are rounded stochastically, drawn by the thread that rounds.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "runtime/base/philox.h"
#include "runtime/ops/cuda/block_place.cuh"
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::ops::cuda {

/// What lies below the last bit of bf16 is its chance, in 2^-16, to be carried into it.
__device__ inline bf16 rounded_by(float x, unsigned random) {
  const unsigned bits = __float_as_uint(x);
  bf16 out = narrowed<bf16>(x);
  if ((bits & 0x7fffffffu) < 0x7f800000u) out.bits = static_cast<uint16_t>((bits + random) >> 16);
  return out;
}

/// The random bits of elements of one range, which are neighbours in the whole tensor for the most part and
/// then share counters.
class Drawer {
 public:
  __device__ unsigned draw(uint64_t key, int64_t element, uint64_t step) {
    if (element / 8 != counter_) {
      counter_ = element / 8;
      words_ = philox4x32(key, static_cast<uint64_t>(counter_), step);
    }
    // Selected, not indexed: the words stay in registers.
    const int half = static_cast<int>(element % 8);
    const uint32_t word = half < 4 ? (half < 2 ? words_[0] : words_[1]) : (half < 6 ? words_[2] : words_[3]);
    return (word >> (16 * (half % 2))) & 0xffffu;
  }

 private:
  int64_t counter_ = -1;
  std::array<uint32_t, 4> words_{};
};

struct RoundingRange {
  int64_t begin, end, to_block;  // element i of the flat tensors is element i + to_block of the block
  uint64_t key;
  BlockPlace place;
};

/// As many ranges as the arguments of a kernel hold with ease.
constexpr int kMostRanges = 16;

struct RoundingRanges {
  int num = 0;
  RoundingRange at[kMostRanges] = {};

  /// Rounds the weights of elements i, i + 1, ..., with the bits of update `number`.
  __device__ void round(int64_t i, int count, uint64_t number, float (&weight)[kPack]) const {
    int r = 0;
    int64_t element = 0, left = 0;
    Drawer drawer;
#pragma unroll
    for (int j = 0; j < kPack; ++j, ++element, --left) {
      if (j >= count) break;
      while (r < num && at[r].end <= i + j) {
        ++r;
        left = 0;
        drawer = Drawer();
      }
      unsigned random = 0;  // of padding
      if (r < num && at[r].begin <= i + j) {
        if (left <= 0) element = at[r].place(i + j + at[r].to_block, left);
        random = drawer.draw(at[r].key, element, number);
      }
      weight[j] = widen(rounded_by(weight[j], random));
    }
  }
};

/// Calls launch(first, end, some) for runs of elements that together are [0, numel): each resumes from where
/// the one before it ended to the end of its last range, or of the tensors.
template <class Launch>
void for_each_launch(std::span<const ElementRange> ranges, int64_t numel, const Launch& launch) {
  int64_t first = 0;
  for (size_t next = 0; first < numel;) {
    RoundingRanges some;
    while (some.num < kMostRanges && next < ranges.size()) {
      const ElementRange& r = ranges[next++];
      some.at[some.num++] = {r.begin, r.end, r.first - r.begin, r.key, {r.shape, r.global, r.offset}};
    }
    const int64_t end = next < ranges.size() ? ranges[next - 1].end : numel;
    launch(first, end, some);
    first = end;
  }
}

}  // namespace trireme::ops::cuda
