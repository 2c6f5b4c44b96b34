#include "runtime/ops/cpu/compress/panels.h"

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

/// Rows of a tile, whose sums stay in registers.
constexpr int64_t kTile = 6;
/// Rows of a panel that stay in the first cache while all rows of a meet them.
constexpr int64_t kPanelDepth = 256;

typedef double PanelRow __attribute__((vector_size(8 * sizeof(double)), aligned(8)));

/// sums[6, 8] = a[6, depth] · b[depth, 8].
TRIREME_VECTORIZED void multiply_tile(int64_t depth, const double* const* a, int64_t begin, const double* b,
                                      double* sums) {
  PanelRow sum[kTile] = {};
  const double* row[kTile];
  for (int64_t r = 0; r < kTile; ++r) row[r] = a[r] + begin;
  for (int64_t k = 0; k < depth; ++k) {
    const PanelRow values = *reinterpret_cast<const PanelRow*>(b + k * kPanel);
#pragma GCC unroll 6
    for (int64_t r = 0; r < kTile; ++r) sum[r] += row[r][k] * values;
  }
#pragma GCC unroll 6
  for (int64_t r = 0; r < kTile; ++r) *reinterpret_cast<PanelRow*>(sums + r * kPanel) = sum[r];
}

/// Products with rows [begin, begin + depth) of a panel.
void add_piece(int64_t rows, int64_t begin, int64_t depth, const double* const* a, const double* b, double* c,
               int64_t stride_c) {
  alignas(64) double sums[kTile * kPanel];
  for (int64_t row = 0; row < rows; row += kTile) {
    // Rows beyond the last one are computed like it and left out.
    const double* tile[kTile];
    for (int64_t r = 0; r < kTile; ++r) tile[r] = a[std::min(row + r, rows - 1)];
    multiply_tile(depth, tile, begin, b + begin * kPanel, sums);
    for (int64_t r = 0; r < std::min(kTile, rows - row); ++r) {
      for (int64_t j = 0; j < kPanel; ++j) c[(row + r) * stride_c + j] += sums[r * kPanel + j];
    }
  }
}

}  // namespace

TrianglePanels::TrianglePanels(int64_t n) : n_(n) {
  const int64_t p = panels();
  data_.resize(static_cast<size_t>(kPanel * kPanel * p * (p + 1) / 2));
}

void add_panel_product(int64_t rows, int64_t depth, const double* const* a, const double* b, double* c,
                       int64_t stride_c) {
  for (int64_t k = 0; k < depth; k += kPanelDepth) {
    add_piece(rows, k, std::min(kPanelDepth, depth - k), a, b, c, stride_c);
  }
}

void add_triangle_product(int64_t rows, int64_t depth, const double* const* a, const TrianglePanels& b,
                          int64_t begin, int64_t columns, double* c, int64_t stride_c) {
  // A piece of a's rows stays in the cache while all panels meet it.
  for (int64_t k = 0; k < depth; k += kPanelDepth) {
    for (int64_t j = 0; j < columns; j += kPanel) {
      const int64_t p = (begin + j) / kPanel, end = std::min(depth, (p + 1) * kPanel);
      if (k < end) add_piece(rows, k, std::min(kPanelDepth, end - k), a, b.panel(p), c + j, stride_c);
    }
  }
}

TRIREME_VECTORIZED void add_scaled(int64_t n, double factor, const double* x, double* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

TRIREME_VECTORIZED double dot_of(int64_t n, const double* a, const double* b) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace trireme::ops::cpu
