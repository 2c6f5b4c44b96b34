// Where the elements of a rank's part lie in the whole parameter, seen as a matrix.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel/module/local_ranges.h"

namespace trireme {

/// Calls f(element of the range, row, column) with the place of each in the whole parameter; a vector is a
/// matrix of one column.
template <class F>
void for_each_place(const LocalRange& range, F&& f) {
  const Parameter& p = *range.parameter;
  const bool is_matrix = p.shape.rank() > 1;
  const int64_t width = is_matrix ? p.shape[1] : 1, first_column = is_matrix ? p.offset[1] : 0;
  int64_t row = range.first / width, column = range.first % width;
  for (size_t i = 0; i < static_cast<size_t>(range.size()); ++i) {
    f(i, p.offset[0] + row, first_column + column);
    if (++column < width) continue;
    column = 0;
    ++row;
  }
}

/// Columns of the whole parameter.
inline int64_t width_of_whole(const Parameter& p) {
  return p.global_shape.rank() > 1 ? p.global_shape[1] : 1;
}

}  // namespace trireme
