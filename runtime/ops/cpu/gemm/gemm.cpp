#include "runtime/ops/gemm/gemm.h"

#include <omp.h>

#include "runtime/ops/activation.h"
#include "runtime/ops/cpu/gemm/float_gemm.h"
#include "runtime/ops/cpu/gemm/half_gemm.h"
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

}  // namespace

void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c) {
  const int64_t k = options.transpose_a ? a.rows() : a.count;
  if (k == 0) return empty_product(ctx, options, bias, c);
  // OpenMP gives a product within a team no further threads.
  const int num_threads = omp_in_parallel() != 0 ? 1 : ctx.num_threads();
  if (a.dtype() == DType::f32) return float_gemm(ctx, num_threads, options, a, b, bias, c);
  const bool forward = options.transpose_b && !options.transpose_a && !options.accumulate;
  const RowBlocks rows = forward ? half_rows(a.dtype()).blocks : RowBlocks::by_size;
  if (half_gemm(ctx, num_threads, rows, options, a, b, bias, c)) return;
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

bool rows_are_independent(Context&, DType dtype) {
  return dtype == DType::f32 || !onednn::has_matmul(dtype) || half_rows(dtype).independent;
}

bool has_native_gemm(Context&, DType dtype) { return dtype == DType::f32 || onednn::has_matmul(dtype); }

}  // namespace trireme::ops::cpu
