#include "runtime/ops/gemm/gemm.h"

#include <algorithm>
#include <vector>

#include <omp.h>

#include "runtime/ops/activation.h"
#include "runtime/ops/cpu/gemm/float_gemm.h"
#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/support.h"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cpu {

namespace {

// to = from, converted.
void convert(Context& ctx, const Columns& from, const Columns& to) {
  with_compute_type(from.dtype(), [&]<class From>(From) {
    with_compute_type(to.dtype(), [&]<class To>(To) {
      parallel_for(ctx.num_threads(), from.rows(), row_grain(from.count), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          convert_range(from.row<From>(r), to.row<To>(r), from.count);
        }
      });
    });
  });
}

Tensor scratch_like(Context& ctx, const Columns& t) {
  return Tensor::empty(ctx, {t.rows(), t.count}, DType::f32, MemoryCategory::buffers);
}

Tensor in_float(Context& ctx, const Columns& t) {
  const Tensor wide = scratch_like(ctx, t);
  convert(ctx, t, wide);
  return wide;
}

// K = 0: the product is zero, the bias and what is accumulated on remain.
void empty_product(Context& ctx, const GemmOptions& options, const Tensor& bias, const Columns& c) {
  const Tensor sum = options.accumulate ? in_float(ctx, c) : scratch_like(ctx, c);
  if (!options.accumulate) cpu::fill(ctx, sum, 0.0);
  if (bias) {
    for (int64_t i = 0; i < sum.numel(); ++i) sum.data<float>()[i] += bias.data<float>()[i % c.count];
  }
  convert(ctx, sum, c);
}

// Types that this machine cannot multiply: fp32 arithmetic on the rounded values.
void gemm_in_float(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b,
                   const Tensor& bias, const Columns& c) {
  const Tensor wide_a = in_float(ctx, a), wide_b = in_float(ctx, b);
  if (c.dtype() == DType::f32) return cpu::gemm(ctx, options, wide_a, wide_b, bias, c);
  const Tensor wide_c = options.accumulate ? in_float(ctx, c) : scratch_like(ctx, c);
  cpu::gemm(ctx, options, wide_a, wide_b, bias, wide_c);
  convert(ctx, wide_c, c);
}

// A block of c, of rows from `row` on and columns from `column` on.
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

const void* element(const Columns& matrix, int64_t row, int64_t column) {
  return static_cast<const std::byte*>(matrix.raw()) +
         (row * matrix.stride() + column) * static_cast<int64_t>(size_of(matrix.dtype()));
}

// A product of a half type by oneDNN. False where it has none; then nothing is done.
bool half_gemm(Context& ctx, int num_threads, const GemmOptions& options, const Columns& a, const Tensor& b,
               const Tensor& bias, const Columns& c) {
  const bool ta = options.transpose_a, tb = options.transpose_b;
  const int64_t k = ta ? a.rows() : a.count;
  const std::vector<Block> blocks = blocks_of(tb, c.rows(), c.count, k);
  const auto problem = [&](const Block& block) {
    return onednn::MatmulProblem{.m = block.rows,
                                 .n = block.columns,
                                 .k = k,
                                 .stride_a = a.stride(),
                                 .stride_b = b.dim(1),
                                 .stride_c = c.stride(),
                                 .in = a.dtype(),
                                 .out = c.dtype(),
                                 .transpose_a = ta,
                                 .transpose_b = tb,
                                 .has_bias = static_cast<bool>(bias),
                                 .accumulate = options.accumulate,
                                 .alpha = options.alpha};
  };
  if (!std::ranges::all_of(blocks, [&](const Block& x) { return onednn::can_multiply(problem(x)); })) {
    return false;
  }
  run_in_team(num_threads, std::ssize(blocks), [&](int64_t i, int64_t) {
    const Block& x = blocks[static_cast<size_t>(i)];
    onednn::matmul(ctx, problem(x), element(a, ta ? 0 : x.row, ta ? x.row : 0),
                   element(b, tb ? x.column : 0, tb ? 0 : x.column),
                   bias ? bias.data<float>() + x.column : nullptr,
                   const_cast<void*>(element(c, x.row, x.column)));
  });
  return true;
}

}  // namespace

void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c) {
  const int64_t k = options.transpose_a ? a.rows() : a.count;
  if (k == 0) return empty_product(ctx, options, bias, c);
  // OpenMP gives a product within a team no further threads.
  const int num_threads = omp_in_parallel() != 0 ? 1 : ctx.num_threads();
  if (a.dtype() == DType::f32) return float_gemm(ctx, num_threads, options, a, b, bias, c);
  if (half_gemm(ctx, num_threads, options, a, b, bias, c)) return;
  gemm_in_float(ctx, options, a, b, bias, c);
}

void linear_gelu(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h,
                 const Tensor& y) {
  cpu::gemm(ctx, {.transpose_b = true}, x, w, bias, h);
  cpu::gelu(ctx, h, y);
}

void linear_backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& w, const Tensor& h,
                                const Tensor& dh) {
  cpu::gemm(ctx, {}, dy, w, {}, dh);
  cpu::gelu_backward(ctx, h, dh, dh);
}

void linear_backward_weight(Context& ctx, const Columns& dy, const Tensor& x, const Tensor& dw,
                            const Tensor& dbias) {
  if (dw.numel() > 0) cpu::gemm(ctx, {.transpose_a = true, .accumulate = true}, dy, x, {}, dw);
  if (dbias) cpu::add_column_sums(ctx, dy, dbias);
}

bool has_native_gemm(Context&, DType dtype) { return dtype == DType::f32 || onednn::has_matmul(dtype); }

}  // namespace trireme::ops::cpu
