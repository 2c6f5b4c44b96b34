// Where the elements of a rank's block of a parameter lie in the whole.
#pragma once

#include "parallel/module/parameter.h"

namespace trireme::test {

/// Calls f(index in the flat block, index in the flat whole tensor) for every element of this rank's block.
template <class F>
void for_each_element(const Parameter& p, F&& f) {
  const bool matrix = p.shape.rank() > 1;
  const int64_t columns = matrix ? p.shape[1] : 1, width = matrix ? p.global_shape[1] : 1;
  for (int64_t i = 0; i < p.shape.numel(); ++i) {
    const int64_t row = p.offset[0] + i / columns, column = (matrix ? p.offset[1] : 0) + i % columns;
    f(static_cast<size_t>(i), static_cast<size_t>(row * width + column));
  }
}

}  // namespace trireme::test
