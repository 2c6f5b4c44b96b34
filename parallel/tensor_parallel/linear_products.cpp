#include "parallel/tensor_parallel/linear_products.h"

#include "runtime/ops/activation.h"
#include "runtime/ops/gemm/float8.h"

namespace trireme {

namespace {

ops::ScaledTensor quantized(Context& ctx, const Tensor& x, DType type) {
  const ops::ScaledTensor out{Tensor::empty(ctx, x.shape(), type, MemoryCategory::buffers),
                              Tensor::empty(ctx, {1}, DType::f32, MemoryCategory::buffers)};
  ops::quantize(ctx, x, out);
  return out;
}

ops::ScaledTensor in_8_bits(Context& ctx, const WeightView& w) {
  if (w.format == WeightFormat::float8) return {w.values, w.scales};
  return quantized(ctx, w.values, DType::f8e4m3);
}

// Quantizing looks at all of a matrix, and what lies beside the columns may be anything.
const Tensor& whole(const ops::Columns& c) {
  TRIREME_CHECK(c.is_whole(), "8-bit products of {} columns of {}", c.count, c.stride());
  return c.matrix;
}

// Each part gives columns of its own.
void multiply_packed(Context& ctx, const Tensor& x, const PackedBlock& w, const Tensor& bias,
                     const ops::Columns& y) {
  TRIREME_CHECK(w.num_outputs() == y.count, "{} outputs into {} columns", w.num_outputs(), y.count);
  if (w.observer != nullptr) {
    const int64_t rows = x.dim(0);
    w.observer->inputs(ctx, x, {&rows, 1});
  }
  int64_t at = 0;
  for (const ops::PackedWeight& part : w.parts) {
    const int64_t end = at + part.outputs;
    ops::packed_linear(ctx, x, part, w.activations, bias ? bias.slice(at, end) : Tensor(),
                       {y.matrix, y.begin + at, part.outputs});
    at = end;
  }
}

void expect_trainable(const WeightView& w) {
  TRIREME_CHECK(w.format != WeightFormat::packed, "packed weights have no backward pass");
}

}  // namespace

void LinearProducts::forward(Context& ctx, const Tensor& x, const WeightView& w, const Tensor& bias,
                             const ops::Columns& y) const {
  if (w.format == WeightFormat::packed) return multiply_packed(ctx, x, *w.packed, bias, y);
  if (is_plain(w)) return ops::linear(ctx, x, w.values, bias, y);
  ops::gemm_float8(ctx, {.transpose_b = true}, quantized(ctx, x, DType::f8e4m3), in_8_bits(ctx, w), bias,
                   whole(y));
}

void LinearProducts::forward_gelu(Context& ctx, const Tensor& x, const WeightView& w, const Tensor& bias,
                                  const Tensor& h, const Tensor& y) const {
  if (is_plain(w)) return ops::linear_gelu(ctx, x, w.values, bias, h, y);
  forward(ctx, x, w, bias, h);
  ops::gelu(ctx, h, y);
}

void LinearProducts::backward_input(Context& ctx, const ops::Columns& dy, const WeightView& w,
                                    const Tensor& dx) const {
  expect_trainable(w);
  if (is_plain(w)) return ops::linear_backward_input(ctx, dy, w.values, dx);
  ops::gemm_float8(ctx, {}, quantized(ctx, whole(dy), DType::f8e5m2), in_8_bits(ctx, w), {}, dx);
}

void LinearProducts::backward_input_gelu(Context& ctx, const Tensor& dy, const WeightView& w, const Tensor& h,
                                         const Tensor& dh) const {
  expect_trainable(w);
  if (is_plain(w)) return ops::linear_backward_input_gelu(ctx, dy, w.values, h, dh);
  backward_input(ctx, dy, w, dh);
  ops::gelu_backward(ctx, h, dh, dh);
}

void LinearProducts::backward_weight(Context& ctx, const ops::Columns& dy, const Tensor& x, const Tensor& dw,
                                     const Tensor& dbias) const {
  if (!dw) {
    if (dbias) ops::add_column_sums(ctx, dy, dbias);
    return;
  }
  if (policy_.operands == WeightFormat::plain) return ops::linear_backward_weight(ctx, dy, x, dw, dbias);
  ops::gemm_float8(ctx, {.transpose_a = true, .accumulate = true}, quantized(ctx, whole(dy), DType::f8e5m2),
                   quantized(ctx, x, DType::f8e4m3), {}, dw);
  if (dbias) ops::add_column_sums(ctx, dy, dbias);
}

}  // namespace trireme
