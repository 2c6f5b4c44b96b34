// Where the elements of a block lie in the flattened global tensor: runs of equal length, as long as can be.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "runtime/tensor/shape.h"

namespace trireme::ops::cpu {

class BlockRuns {
 public:
  BlockRuns(const Shape& block, const Shape& global, const Shape& offset)
      : block_(block), num_outer_(block.rank()) {
    int64_t stride = 1;
    bool contiguous = true;
    for (int i = block.rank() - 1; i >= 0; --i) {
      strides_[static_cast<size_t>(i)] = stride;
      first_ += offset[i] * stride;
      stride *= global[i];
      if (contiguous) {
        length_ *= block[i];
        num_outer_ = i;
        contiguous = block[i] == global[i];
      }
    }
  }

  /// Calls body(global element, first, n) for the pieces of runs that make up the block's elements [begin,
  /// end): n elements of the block from `first` on lie one after the other from that global element on.
  template <class Body>
  void for_each(int64_t begin, int64_t end, Body&& body) const {
    while (begin < end) {
      const int64_t within = begin % length_, n = std::min(length_ - within, end - begin);
      body(begin_of(begin / length_) + within, begin, n);
      begin += n;
    }
  }

 private:
  int64_t begin_of(int64_t run) const {
    int64_t at = first_;
    for (int i = num_outer_ - 1; i >= 0; --i) {
      at += run % block_[i] * strides_[static_cast<size_t>(i)];
      run /= block_[i];
    }
    return at;
  }

  Shape block_;
  std::array<int64_t, Shape::kMaxRank> strides_{};
  int64_t first_ = 0;
  int64_t length_ = 1;
  int num_outer_;  // dims that count the runs; the dims after them make up one run
};

}  // namespace trireme::ops::cpu
