// 8-bit products by cuBLASLt, from sm_89 on. It wants the inner dim of both matrices to be the contiguous
// one, all dims in units of 16, and not E5M2 on both sides.
#include "runtime/ops/cuda/compute_capability.h"
#include "runtime/ops/cuda/gemm/matmul.h"
#include "runtime/ops/cuda/gemm/row_bias.h"
#include "runtime/ops/cuda/gemm/transpose_codes.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/float8.h"

namespace trireme::ops::cuda {

namespace {

void expect_float8(Context& ctx) {
  const auto& device = ctx.service<ComputeCapability>();
  if (device.major() * 10 + device.minor() < 89) {
    throw_environment(
        "FP8 matrix products need a GPU of compute capability 8.9 or newer (Ada, Hopper); {} has "
        "{}.{}: use bf16",
        to_string(ctx.device()), device.major(), device.minor());
  }
}

bool is_for_the_library(const Tensor& a, const Tensor& b, const Tensor& c, int64_t k) {
  constexpr int64_t kUnit = 16;
  const bool is_aligned = reinterpret_cast<uintptr_t>(a.raw()) % kUnit == 0 &&
                          reinterpret_cast<uintptr_t>(b.raw()) % kUnit == 0 &&
                          reinterpret_cast<uintptr_t>(c.raw()) % kUnit == 0;
  return is_aligned && k > 0 && k % kUnit == 0 && c.dim(0) % kUnit == 0 && c.dim(1) % kUnit == 0 &&
         (a.dtype() == DType::f8e4m3 || b.dtype() == DType::f8e4m3);
}

/// Any sizes: bf16 holds every value of both types exactly.
void gemm_widened(Context& ctx, const GemmOptions& options, const ScaledTensor& a, const ScaledTensor& b,
                  const Tensor& bias, const Tensor& c) {
  const auto widened = [&](const ScaledTensor& t) {
    const Tensor wide = Tensor::empty(ctx, t.values.shape(), DType::bf16, MemoryCategory::buffers);
    if (wide.numel() > 0) cuda::dequantize(ctx, t, wide);
    return wide;
  };
  const Tensor wide_a = widened(a), wide_b = widened(b);
  if (c.dtype() != DType::f16) return cuda::gemm(ctx, options, wide_a, wide_b, bias, c);
  const Tensor sum = Tensor::empty(ctx, c.shape(), DType::f32, MemoryCategory::buffers);
  if (options.accumulate) cuda::copy(ctx, c, sum);
  cuda::gemm(ctx, options, wide_a, wide_b, bias, sum);
  cuda::copy(ctx, sum, c);
}

}  // namespace

void gemm_float8(Context& ctx, const GemmOptions& options, const ScaledTensor& a, const ScaledTensor& b,
                 const Tensor& bias, const Tensor& c) {
  expect_float8(ctx);
  if (!is_for_the_library(a.values, b.values, c, a.values.dim(options.transpose_a ? 0 : 1))) {
    return gemm_widened(ctx, options, a, b, bias, c);
  }
  Matmul product{.options = options,
                 .a = a.values,
                 .b = b.values,
                 .bias = {},
                 .c = c,
                 .scale_a = a.scale,
                 .scale_b = b.scale};
  product.options.transpose_a = false;
  product.options.transpose_b = true;
  if (options.transpose_a) product.a = transposed_codes(ctx, a.values);
  if (!options.transpose_b) product.b = transposed_codes(ctx, b.values);
  // Into fp32 the library adds a bias of bf16 alone.
  if (c.dtype() != DType::f32) product.bias = in_type(ctx, bias, c.dtype());
  matmul(ctx, product);
  if (bias && c.dtype() == DType::f32) add_bias_alone(ctx, true, bias, c);
}

}  // namespace trireme::ops::cuda
