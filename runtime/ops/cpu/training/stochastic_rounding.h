// Random bits of weights that are rounded stochastically, piece by piece.
#pragma once

#include <span>
#include <vector>

#include "runtime/base/half.h"
#include "runtime/ops/cpu/block_runs.h"
#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::ops::cpu {

class StochasticRounding {
 public:
  static constexpr int64_t kPiece = 1024;

  /// Of update `number`; ranges of flat tensors.
  StochasticRounding(std::span<const ElementRange> ranges, uint64_t number);
  /// out = w rounded, the elements [begin, begin + n) of the flat tensors; n <= kPiece.
  void round(int64_t begin, int64_t n, const float* w, bf16* out) const;

 private:
  void draw(int64_t begin, int64_t n, uint16_t* out) const;

  /// A range with its runs of global elements.
  struct Source {
    ElementRange range;
    BlockRuns runs;
  };
  std::vector<Source> sources_;
  uint64_t number_;
};

}  // namespace trireme::ops::cpu
