#include "runtime/ops/gemm.h"

#include "runtime/ops/cpu/onednn.h"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cpu {

namespace {

Tensor scratch_like(Context& ctx, const Tensor& t) {
  return Tensor::empty(ctx, t.shape(), DType::f32, MemoryCategory::buffers);
}

Tensor in_float(Context& ctx, const Tensor& t) {
  const Tensor wide = scratch_like(ctx, t);
  cpu::copy(ctx, t, wide);
  return wide;
}

// K = 0: the product is zero, the bias and what is accumulated on remain.
void empty_product(Context& ctx, const GemmOptions& options, const Tensor& bias, const Tensor& c) {
  if (!options.accumulate) cpu::fill(ctx, c, 0.0);
  if (!bias) return;
  const Tensor sum = in_float(ctx, c);
  for (int64_t i = 0; i < c.numel(); ++i) sum.data<float>()[i] += bias.data<float>()[i % c.dim(1)];
  cpu::copy(ctx, sum, c);
}

// Types that this machine cannot multiply: fp32 arithmetic on the rounded values.
void gemm_in_float(Context& ctx, const GemmOptions& options, const Tensor& a, const Tensor& b,
                   const Tensor& bias, const Tensor& c) {
  const Tensor wide_a = in_float(ctx, a), wide_b = in_float(ctx, b);
  if (c.dtype() == DType::f32) return cpu::gemm(ctx, options, wide_a, wide_b, bias, c);
  const Tensor wide_c = options.accumulate ? in_float(ctx, c) : scratch_like(ctx, c);
  cpu::gemm(ctx, options, wide_a, wide_b, bias, wide_c);
  cpu::copy(ctx, wide_c, c);
}

}  // namespace

void gemm(Context& ctx, const GemmOptions& options, const Tensor& a, const Tensor& b, const Tensor& bias,
          const Tensor& c) {
  const int64_t m = c.dim(0), n = c.dim(1), k = a.dim(options.transpose_a ? 0 : 1);
  if (k == 0) return empty_product(ctx, options, bias, c);
  // Backward products and an output layer have no bias. There oneDNN 2.6's sgemm beats its fp32 matmul by
  // some percent on GPT-2's shapes, and by 1.9 where K is the vocabulary: 207 against 111 GFLOP/s on two
  // cores of Zen 4.
  if (a.dtype() == DType::f32 && !bias) {
    const onednn::ThreadCount threads(ctx.num_threads());
    return onednn::sgemm(options.transpose_a, options.transpose_b, m, n, k, options.alpha, a.data<float>(),
                         a.dim(1), b.data<float>(), b.dim(1), options.accumulate ? 1.0f : 0.0f,
                         c.data<float>(), n);
  }
  const onednn::MatmulProblem problem{.m = m,
                                      .n = n,
                                      .k = k,
                                      .in = a.dtype(),
                                      .out = c.dtype(),
                                      .transpose_a = options.transpose_a,
                                      .transpose_b = options.transpose_b,
                                      .has_bias = static_cast<bool>(bias),
                                      .accumulate = options.accumulate,
                                      .alpha = options.alpha};
  if (onednn::matmul(ctx, problem, a.raw(), b.raw(), bias ? bias.data<float>() : nullptr, c.raw())) return;
  gemm_in_float(ctx, options, a, b, bias, c);
}

bool has_native_gemm(Context& ctx, DType dtype) {
  return dtype == DType::f32 || onednn::has_matmul(ctx, dtype);
}

}  // namespace trireme::ops::cpu
