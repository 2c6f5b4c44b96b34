#include <cstring>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/cpu/convert.h"
#include "runtime/ops/cpu/onednn.h"
#include "runtime/ops/gemm.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kGrain = 1 << 15;  // elements; less is not worth a thread

Tensor converted(Context& ctx, const Tensor& from, DType dtype) {
  const Tensor to = Tensor::empty(ctx, from.shape(), dtype, MemoryCategory::buffers);
  parallel_for(ctx.num_threads(), from.numel(), kGrain, [&](int64_t begin, int64_t end) {
    to_float(from.dtype(), from.flat_slice(begin, {end - begin}).raw(), to.data<float>() + begin,
             end - begin);
  });
  return to;
}

void round_into(Context& ctx, const Tensor& from, const Tensor& to) {
  parallel_for(ctx.num_threads(), from.numel(), kGrain, [&](int64_t begin, int64_t end) {
    from_float(to.dtype(), from.data<float>() + begin, to.flat_slice(begin, {end - begin}).raw(),
               end - begin);
  });
}

// K = 0: the product is zero, the bias and what is accumulated on remain.
void empty_product(Context& ctx, const GemmOptions& options, const Tensor& bias, const Tensor& c) {
  if (!bias && options.accumulate) return;
  const Tensor sum = options.accumulate ? converted(ctx, c, DType::f32)
                                        : Tensor::empty(ctx, c.shape(), DType::f32, MemoryCategory::buffers);
  float* out = sum.data<float>();
  const int64_t n = c.dim(1);
  for (int64_t i = 0; i < c.numel(); ++i) {
    out[i] = (options.accumulate ? out[i] : 0.0f) + (bias ? bias.data<float>()[i % n] : 0.0f);
  }
  round_into(ctx, sum, c);
}

// Types that this machine cannot multiply: fp32 arithmetic on the rounded values.
void gemm_in_float(Context& ctx, const GemmOptions& options, const Tensor& a, const Tensor& b,
                   const Tensor& bias, const Tensor& c) {
  const Tensor a32 = converted(ctx, a, DType::f32), b32 = converted(ctx, b, DType::f32);
  if (c.dtype() == DType::f32) return cpu::gemm(ctx, options, a32, b32, bias, c);
  const Tensor c32 = options.accumulate ? converted(ctx, c, DType::f32)
                                        : Tensor::empty(ctx, c.shape(), DType::f32, MemoryCategory::buffers);
  cpu::gemm(ctx, options, a32, b32, bias, c32);
  round_into(ctx, c32, c);
}

}  // namespace

void gemm(Context& ctx, const GemmOptions& options, const Tensor& a, const Tensor& b, const Tensor& bias,
          const Tensor& c) {
  const int64_t m = c.dim(0), n = c.dim(1), k = a.dim(options.transpose_a ? 0 : 1);
  if (k == 0) return empty_product(ctx, options, bias, c);
  // oneDNN 2.6's sgemm is never slower than its fp32 matmul and up to 1.9 times as fast where K is long (the
  // gradient through an output layer); but it has no bias.
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

}  // namespace trireme::ops::cpu
