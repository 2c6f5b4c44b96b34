// oneDNN's sgemm divides its work, also the inner dimension, by the number of threads. So it computes small
// products of backward passes alone, on one thread and in pieces that follow from the sizes; large ones, and
// all of forward passes, are put together from tiles here, after Goto and van de Geijn (Anatomy of
// high-performance matrix multiplication, 2008).
#include "runtime/ops/cpu/gemm/float_gemm.h"

#include <algorithm>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kDepth = kProductDepth;
/// Rows of a tile; with kDepth columns they stay in the cache of a core.
constexpr int64_t kTileRows = 192;
/// Rows that two threads are worth dividing.
constexpr int64_t kLeastRows = 96;
/// Floats of b that are packed before they are multiplied by: this many stay in the cache of a core. Where a
/// is packed too, for each of these parts again, fewer and larger parts are better.
constexpr int64_t kPacked = int64_t{1} << 18, kPackedBesideA = int64_t{1} << 20;
/// The same where rows are fewer than a tile's: packing is much of the work, and what is packed is read back
/// at once.
constexpr int64_t kPackedForFew = int64_t{1} << 15;
/// Packed rows and panels lie this many floats further apart than they are long: at distances of a multiple
/// of 4 KiB they would compete for few sets of the cache.
constexpr int64_t kGap = 16;
/// Forward products of so many rows read b where it lies: packing it would cost more.
constexpr int64_t kFewRows = 8;
/// Products with fewer operations, or with fewer rows or columns, do not repay packing.
constexpr int64_t kLeastOperations = int64_t{1} << 23;
constexpr int64_t kLeastSize = 48;
/// Operations of a piece of a small product; with fewer, waking a thread costs more than it saves.
constexpr int64_t kPieceOperations = int64_t{1} << 21;
constexpr int64_t kMostPieces = 32;

struct Product {
  const GemmOptions& options;
  int64_t m, n, k;
  FloatRows a, b;
  const float* bias;  // or null
  float* c;
  int64_t stride_c;

  // Where rows [i, ...) and columns [j, ...) of an operand as it lies in memory begin.
  const float* a_at(int64_t row, int64_t depth) const {
    return a.data + (options.transpose_a ? depth * a.stride + row : row * a.stride + depth);
  }
  const float* b_at(int64_t depth, int64_t column) const {
    return b.data + (options.transpose_b ? column * b.stride + depth : depth * b.stride + column);
  }
  float* c_at(int64_t row, int64_t column) const { return c + row * stride_c + column; }
};

void add_bias(const Product& p, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  if (p.bias == nullptr) return;
  for (int64_t r = row; r < row + rows; ++r) accumulate_range(p.bias + column, p.c_at(r, column), columns);
}

/// Pieces of the longer side, each by sgemm on one thread.
void multiply_small(int num_threads, const Product& p) {
  const bool by_rows = p.m >= p.n;
  const int64_t side = by_rows ? p.m : p.n;
  const int64_t pieces = std::clamp<int64_t>(2 * p.m * p.n * p.k / kPieceOperations, 1, kMostPieces);
  const int64_t length = std::max<int64_t>(round_up(ceil_of(side, pieces), int64_t{16}), 16);
  run_in_team(num_threads, (side + length - 1) / length, [&](int64_t t, int64_t) {
    const int64_t begin = t * length, count = std::min(length, side - begin);
    const int64_t row = by_rows ? begin : 0, column = by_rows ? 0 : begin;
    const int64_t rows = by_rows ? count : p.m, columns = by_rows ? p.n : count;
    const onednn::ThreadCount one(1);
    onednn::sgemm(p.options.transpose_a, p.options.transpose_b, rows, columns, p.k, p.options.alpha,
                  p.a_at(row, 0), p.a.stride, p.b_at(0, column), p.b.stride,
                  p.options.accumulate ? 1.0f : 0.0f, p.c_at(row, column), p.stride_c);
    add_bias(p, row, column, rows, columns);
  });
}

/// A forward product of few rows, in pieces of its columns.
void multiply_few(int num_threads, const Product& p) {
  const GemmKernels& kernels = gemm_kernels();
  const int64_t panels = ceil_of(p.n, kernels.columns);
  const int64_t pieces = std::clamp<int64_t>(2 * p.m * p.n * p.k / kPieceOperations, 1, panels);
  run_in_team(num_threads, pieces, [&](int64_t t, int64_t) {
    const int64_t column = panels * t / pieces * kernels.columns;
    const int64_t columns = std::min(p.n, panels * (t + 1) / pieces * kernels.columns) - column;
    kernels.multiply_few({p.m,
                          columns,
                          p.k,
                          kDepth,
                          {p.a_at(0, 0), p.a.stride},
                          {p.b_at(0, column), p.b.stride},
                          p.options.alpha,
                          p.bias == nullptr ? nullptr : p.bias + column,
                          p.c_at(0, column),
                          p.stride_c});
  });
}

/// A part of c and of the inner dimension.
struct Part {
  int64_t row, rows, column, columns, depth, depths;
};

/// Products by tiles. Threads meet as seldom as can be: each time costs much on a busy machine.
class Tiles {
 public:
  Tiles(Context& ctx, int num_threads, const Product& p)
      : ctx_(ctx), p_(p), kernels_(gemm_kernels()), num_threads_(num_threads) {}

  void run() const { p_.options.transpose_a ? by_rows() : by_columns(); }

 private:
  // Each thread packs the columns of b that it multiplies by; a is read where it lies, so that this comes at
  // no price. Where columns are few, two threads may pack the same ones for different rows.
  void by_columns() const {
    const int64_t wanted = num_threads_ == 1 ? 1 : 2 * num_threads_;
    const int64_t panels = panels_of(p_.n), floats = p_.m < kTileRows ? kPackedForFew : kPacked;
    const int64_t most = std::max<int64_t>(floats / panel_stride(), 1);
    const int64_t chunks = std::max((panels + most - 1) / most, std::min(wanted, (panels + 1) / 2));
    const int64_t groups = (p_.m + kernels_.rows - 1) / kernels_.rows;
    const int64_t row_parts =
        std::clamp<int64_t>((wanted + chunks - 1) / chunks, 1, std::max<int64_t>(p_.m / kLeastRows, 1));
    const Tensor packed_b = scratch(std::min<int64_t>(num_threads_, chunks * row_parts),
                                    (panels + chunks - 1) / chunks * panel_stride());
    run_in_team(num_threads_, chunks * row_parts, [&](int64_t t, int64_t worker) {
      const int64_t chunk = t / row_parts, part = t % row_parts;
      const int64_t row = groups * part / row_parts * kernels_.rows;
      const int64_t end = std::min(p_.m, groups * (part + 1) / row_parts * kernels_.rows);
      const int64_t column = panels * chunk / chunks * kernels_.columns;
      const int64_t columns = std::min(p_.n, panels * (chunk + 1) / chunks * kernels_.columns) - column;
      float* b = packed_b.data<float>() + worker * packed_b.dim(1);
      for (int64_t depth = 0; depth < p_.k; depth += kDepth) {
        const int64_t depths = std::min(kDepth, p_.k - depth);
        for (int64_t i = 0; i < panels_of(columns); ++i) pack(column, columns, depth, depths, i, b);
        for (int64_t r = row; r < end; r += kTileRows) {
          const Part here{r, std::min(kTileRows, end - r), column, columns, depth, depths};
          multiply(kernels_.multiply, here, {p_.a_at(r, depth), p_.a.stride}, b);
        }
      }
    });
  }

  // Where a has to be packed as well, all threads pack b first, as much as may be, and then each its rows of
  // a.
  void by_rows() const {
    const int64_t parts = (p_.n * kDepth + kPackedBesideA - 1) / kPackedBesideA;
    const int64_t columns = (panels_of(p_.n) + parts - 1) / parts * kernels_.columns;
    const int64_t depths =
        std::clamp<int64_t>(kPackedBesideA / (kDepth * columns), 1, (p_.k + kDepth - 1) / kDepth);
    const int64_t wanted = num_threads_ == 1 ? 1 : 4 * num_threads_;
    const int64_t rows = std::clamp(p_.m / wanted / kernels_.rows * kernels_.rows, kLeastRows / 2, kTileRows);
    const Tensor packed_b = scratch(panels_of(columns) * depths, panel_stride());
    const Tensor packed_a = scratch(num_threads_, rows / kernels_.rows * a_panel_stride());
    for (int64_t column = 0; column < p_.n; column += columns) {
      for (int64_t depth = 0; depth < p_.k; depth += depths * kDepth) {
        const Part all{0,      p_.m,
                       column, std::min(columns, p_.n - column),
                       depth,  std::min(depths * kDepth, p_.k - depth)};
        by_rows(all, rows, packed_a, packed_b.data<float>());
      }
    }
  }

  void by_rows(const Part& all, int64_t rows, const Tensor& packed_a, float* packed_b) const {
    const int64_t panels = panels_of(all.columns), blocks = (all.depths + kDepth - 1) / kDepth;
    const auto panels_at = [&](int64_t block) { return packed_b + block * panels * panel_stride(); };
    const auto depths_at = [&](int64_t block) { return std::min(kDepth, all.depths - block * kDepth); };
    parallel_for(num_threads_, panels * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t block = i / panels;
        pack(all.column, all.columns, all.depth + block * kDepth, depths_at(block), i % panels,
             panels_at(block));
      }
    });
    run_in_team(num_threads_, (p_.m + rows - 1) / rows, [&](int64_t t, int64_t worker) {
      float* a = packed_a.data<float>() + worker * packed_a.dim(1);
      for (int64_t block = 0; block < blocks; ++block) {
        const Part here{t * rows,    std::min(rows, p_.m - t * rows), all.column,
                        all.columns, all.depth + block * kDepth,      depths_at(block)};
        kernels_.pack_transposed_a({p_.a_at(here.row, here.depth), p_.a.stride}, here.depths, here.rows,
                                   a_panel_stride(), a);
        multiply(kernels_.multiply_panels, here, {a, a_panel_stride()}, panels_at(block));
      }
    });
  }

  Tensor scratch(int64_t rows, int64_t stride) const {
    return Tensor::empty(ctx_, {rows, stride}, DType::f32, MemoryCategory::buffers);
  }
  int64_t panels_of(int64_t columns) const { return (columns + kernels_.columns - 1) / kernels_.columns; }
  int64_t panel_stride() const { return std::min(kDepth, p_.k) * kernels_.columns + kGap; }
  int64_t a_panel_stride() const { return std::min(kDepth, p_.k) * kernels_.rows + kGap; }

  // The panel with this number of some columns of b.
  void pack(int64_t column, int64_t columns, int64_t depth, int64_t depths, int64_t number,
            float* panels) const {
    const int64_t first = number * kernels_.columns;
    kernels_.pack_b(p_.options.transpose_b, {p_.b_at(depth, column + first), p_.b.stride}, depths,
                    std::min(kernels_.columns, columns - first), p_.options.alpha,
                    panels + number * panel_stride());
  }

  void multiply(decltype(GemmKernels::multiply) kernel, const Part& x, const FloatRows& a,
                const float* panels) const {
    const bool first = x.depth == 0, is_last = x.depth + x.depths == p_.k;
    for (int64_t i = 0; i < panels_of(x.columns); ++i) {
      const int64_t begin = i * kernels_.columns, at = x.column + begin;
      const int64_t width = std::min(kernels_.columns, x.columns - begin);
      float* c = p_.c_at(x.row, at);
      FloatRows start = {c, p_.stride_c};
      if (first && !p_.options.accumulate) start = {p_.bias == nullptr ? nullptr : p_.bias + at, 0};
      kernel(x.rows, width, x.depths, a, panels + i * panel_stride(), start, c, p_.stride_c);
      if (is_last && p_.options.accumulate) add_bias(p_, x.row, at, x.rows, width);
    }
  }

  Context& ctx_;
  const Product& p_;
  const GemmKernels& kernels_;
  int num_threads_;
};

}  // namespace

void float_gemm(Context& ctx, int num_threads, const GemmOptions& options, const Columns& a, const Tensor& b,
                const Tensor& bias, const Columns& c) {
  const int64_t m = c.rows(), n = c.count, k = options.transpose_a ? a.rows() : a.count;
  if (m == 0 || n == 0) return;
  const Product product{options,
                        m,
                        n,
                        k,
                        {a.data<float>(), a.stride()},
                        {b.data<float>(), b.dim(1)},
                        data_or_null<float>(bias),
                        c.data<float>(),
                        c.stride()};
  // The bits of a row do not depend on how many rows a forward product has, so that its sums are those of
  // tiles at every size.
  const bool forward = options.transpose_b && !options.transpose_a && !options.accumulate;
  if (!forward && (std::min(m, n) < kLeastSize || 2 * m * n * k < kLeastOperations)) {
    return multiply_small(num_threads, product);
  }
  if (forward && m <= kFewRows) return multiply_few(num_threads, product);
  Tiles(ctx, num_threads, product).run();
}

}  // namespace trireme::ops::cpu
