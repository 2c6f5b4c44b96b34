#include "runtime/ops/cpu/gemm/half_gemm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// A block of c: rows from `row` on and columns from `column` on.
struct Block {
  int64_t row, rows, column, columns;
};

/// Operations of a block at least; for fewer, waking a thread costs more than it saves.
constexpr int64_t kBlockOperations = int64_t{1} << 23;

// The blocks of c, each multiplied on one thread. They follow from the sizes alone: into how many sums oneDNN
// divides the inner dimension follows from the shape of a block too. Each block packs b again, so rows are
// divided into few; blocks of some of the columns are slower where b is transposed, so they are for products
// of few rows. With AMX, on one thread, most shapes of GPT-2 and Llama lose less than 3 % by this.
std::vector<Block> blocks_of(bool transpose_b, int64_t m, int64_t n, int64_t k) {
  const bool by_rows = m >= 512;
  const int64_t side = by_rows ? m : n, unit = by_rows ? 32 : 64;
  const int64_t length = by_rows ? std::clamp<int64_t>(m / 6, 256, 1024) : transpose_b ? 768 : 384;
  const int64_t worth = 2 * m * n * k / kBlockOperations;
  const int64_t units = (side + unit - 1) / unit;
  const int64_t parts = std::clamp<int64_t>(side / length, 1, std::max<int64_t>(1, worth));
  std::vector<Block> blocks;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t begin = units * i / parts * unit;
    const int64_t count = std::min(side, units * (i + 1) / parts * unit) - begin;
    blocks.push_back(by_rows ? Block{begin, count, 0, n} : Block{0, m, begin, count});
  }
  return blocks;
}

std::byte* element(const Columns& matrix, int64_t row, int64_t column) {
  return static_cast<std::byte*>(matrix.raw()) +
         (row * matrix.stride() + column) * static_cast<int64_t>(size_of(matrix.dtype()));
}

void copy_rows(const Columns& from, const Columns& to, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(element(to, r, 0), element(from, r, 0), static_cast<size_t>(to.count) * size_of(to.dtype()));
  }
}

Columns columns_of(const Columns& c, const Block& x) {
  const Columns rows = c.slice(x.row, x.row + x.rows);
  return {rows.matrix, rows.begin + x.column, x.columns};
}

bool is_forward(const GemmOptions& options) {
  return options.transpose_b && !options.transpose_a && !options.accumulate;
}

class HalfProduct {
 public:
  HalfProduct(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
              const Columns& c)
      : ctx_(ctx), forward_(is_forward(options)), options_(options), a_(a), b_(b), bias_(bias), c_(c) {}

  std::vector<Block> blocks() const { return blocks_of(options_.transpose_b, c_.rows(), c_.count, k()); }

  onednn::MatmulProblem problem(const Block& x) const {
    return {.m = x.rows,
            .n = x.columns,
            .k = k(),
            .stride_a = is_copied() ? k() : a_.stride(),
            .stride_b = b_.dim(1),
            .stride_c = is_apart(x) ? x.columns : c_.stride(),
            .in = a_.dtype(),
            .out = c_.dtype(),
            .transpose_a = options_.transpose_a,
            .transpose_b = options_.transpose_b,
            .has_bias = static_cast<bool>(bias_),
            .accumulate = options_.accumulate,
            .alpha = options_.alpha};
  }

  void multiply(const Block& x) const {
    const bool ta = options_.transpose_a, tb = options_.transpose_b;
    Columns a, c;
    if (is_copied()) {
      a = scratch(x.rows, k(), a_.dtype());
      copy_rows(a_.slice(x.row, x.row + x.rows), a, x.rows);
    }
    if (is_apart(x)) c = scratch(x.rows, x.columns, c_.dtype());
    onednn::matmul(ctx_, problem(x), a ? a.raw() : element(a_, ta ? 0 : x.row, ta ? x.row : 0),
                   element(b_, tb ? x.column : 0, tb ? 0 : x.column),
                   bias_ ? bias_.data<float>() + x.column : nullptr,
                   c ? c.raw() : element(c_, x.row, x.column));
    if (c) copy_rows(c, columns_of(c_, x), x.rows);
  }

 private:
  int64_t k() const { return options_.transpose_a ? a_.rows() : a_.count; }
  // oneDNN multiplies rows that lie further apart than they are long by another kernel, with other sums.
  bool is_copied() const { return forward_ && !a_.is_whole(); }
  bool is_apart(const Block& x) const { return forward_ && x.columns < c_.stride(); }
  Tensor scratch(int64_t rows, int64_t columns, DType dtype) const {
    return Tensor::empty(ctx_, {rows, columns}, dtype, MemoryCategory::buffers);
  }

  Context& ctx_;
  bool forward_;
  const GemmOptions& options_;
  const Columns& a_;
  const Tensor& b_;
  const Tensor& bias_;
  const Columns& c_;
};

/// Rows of a product where all have the same, and columns, whose part of b stays in the cache of a core.
constexpr int64_t kFixedRows = 64, kFixedColumns = 256;

// A forward product in pieces of one shape, so that oneDNN has one kernel for all numbers of rows. Each task
// packs some columns of b once and multiplies all rows by them.
class FixedRowsProduct {
 public:
  FixedRowsProduct(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b,
                   const Tensor& bias, const Columns& c)
      : ctx_(ctx), options_(options), a_(a), b_(b), bias_(bias), c_(c) {
    TRIREME_CHECK(is_forward(options), "blocks of {} rows: no forward product", kFixedRows);
  }

  std::vector<Block> blocks() const {
    std::vector<Block> blocks;
    for (int64_t column = 0; column < c_.count; column += kFixedColumns) {
      blocks.push_back({0, c_.rows(), column, std::min(kFixedColumns, c_.count - column)});
    }
    return blocks;
  }

  onednn::MatmulProblem problem(const Block& x) const {
    return {.m = kFixedRows,
            .n = x.columns,
            .k = a_.count,
            .stride_a = a_.count,
            .stride_b = b_.dim(1),
            .stride_c = x.columns,
            .in = a_.dtype(),
            .out = c_.dtype(),
            .transpose_b = true,
            .has_bias = static_cast<bool>(bias_),
            .packed_b = true,
            .alpha = options_.alpha};
  }

  void multiply(const Block& x) const {
    const onednn::MatmulProblem p = problem(x);
    const Tensor packed = scratch({static_cast<int64_t>(onednn::packed_b_bytes(p))}, DType::u8);
    onednn::pack_b(p, element(b_, x.column, 0), packed.raw());
    const Columns a = scratch({kFixedRows, a_.count}, a_.dtype());
    const Columns c = scratch({kFixedRows, x.columns}, c_.dtype());
    std::memset(a.raw(), 0, static_cast<size_t>(a.matrix.bytes()));
    for (int64_t row = 0; row < c_.rows(); row += kFixedRows) {
      const int64_t rows = std::min(kFixedRows, c_.rows() - row);
      const bool in_place = rows == kFixedRows && a_.is_whole();
      if (!in_place) copy_rows(a_.slice(row, row + rows), a, rows);
      onednn::matmul(ctx_, p, in_place ? element(a_, row, 0) : a.raw(), packed.raw(),
                     bias_ ? bias_.data<float>() + x.column : nullptr, c.raw());
      copy_rows(c, columns_of(c_, {row, rows, x.column, x.columns}), rows);
    }
  }

 private:
  Tensor scratch(const Shape& shape, DType dtype) const {
    return Tensor::empty(ctx_, shape, dtype, MemoryCategory::buffers);
  }

  Context& ctx_;
  const GemmOptions& options_;
  const Columns& a_;
  const Tensor& b_;
  const Tensor& bias_;
  const Columns& c_;
};

/// False where oneDNN has no fast product for one of the blocks.
template <class Product>
bool multiply_all(int num_threads, const Product& product) {
  const std::vector<Block> blocks = product.blocks();
  if (!std::ranges::all_of(blocks,
                           [&](const Block& x) { return onednn::can_multiply(product.problem(x)); })) {
    return false;
  }
  run_in_team(num_threads, std::ssize(blocks),
              [&](int64_t i, int64_t) { product.multiply(blocks[static_cast<size_t>(i)]); });
  return true;
}

}  // namespace

bool half_gemm(Context& ctx, int num_threads, RowBlocks rows, const GemmOptions& options, const Columns& a,
               const Tensor& b, const Tensor& bias, const Columns& c) {
  if (rows == RowBlocks::of_64) {
    return multiply_all(num_threads, FixedRowsProduct(ctx, options, a, b, bias, c));
  }
  return multiply_all(num_threads, HalfProduct(ctx, options, a, b, bias, c));
}

}  // namespace trireme::ops::cpu
