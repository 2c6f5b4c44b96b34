// Products in fp64 with matrices that lie in panels of eight columns. Each element of a result is the same
// sum, in the same order, whatever the other rows are and whichever thread computes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/base/integers.h"

namespace trireme::ops::cpu {

inline constexpr int64_t kPanel = 8;
/// Rows that are multiplied at once: their operands stay in the cache of a core.
inline constexpr int64_t kRowsAtOnce = 48;

/// An upper triangle [n, n]: panel p has columns [8 p, 8 p + 8) of rows [0, 8 p + 8), each row's eight side
/// by side. Zeros below the diagonal and beyond n.
class TrianglePanels {
 public:
  explicit TrianglePanels(int64_t n);

  int64_t n() const { return n_; }
  int64_t panels() const { return ceil_of(n_, kPanel); }
  double* panel(int64_t p) { return data_.data() + kPanel * kPanel * p * (p + 1) / 2; }
  const double* panel(int64_t p) const { return data_.data() + kPanel * kPanel * p * (p + 1) / 2; }
  double at(int64_t row, int64_t column) const {
    return panel(column / kPanel)[row * kPanel + column % kPanel];
  }

 private:
  int64_t n_;
  std::vector<double> data_;
};

/// c[rows, 8] += a[rows, depth] · b[depth, 8]. a: where each row begins.
void add_panel_product(int64_t rows, int64_t depth, const double* const* a, const double* b, double* c,
                       int64_t stride_c);

/// c[rows, columns] += a[rows, depth] · b[0:depth, begin:begin + columns) for `columns` from a multiple of
/// eight on; of a panel no more rows than it has are multiplied. c has room for whole panels.
void add_triangle_product(int64_t rows, int64_t depth, const double* const* a, const TrianglePanels& b,
                          int64_t begin, int64_t columns, double* c, int64_t stride_c);

/// y += factor * x.
void add_scaled(int64_t n, double factor, const double* x, double* y);
/// The sum of a[i] * b[i].
double dot_of(int64_t n, const double* a, const double* b);

}  // namespace trireme::ops::cpu
