// Of products of matrices.
#include "tests/runtime/ops/thread_cases/thread_cases.h"

#include <cstdint>
#include <numeric>

#include "runtime/ops/gemm/float8.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme::test {
namespace {

struct ProductCase {
  int64_t m, n, k;
  DType in, out;
  bool with_bias;
  ops::GemmOptions options;
};

// With all the ways in which a product is divided: one row or column, a long inner dimension, few operations.
ProductCase draw_product(Draw& draw, DType in) {
  ProductCase p{draw.size(1100), draw.size(1100), draw.size(1100), in, in, draw.coin(), {}};
  if (draw.between(0, 3) == 0) p.k = draw.pick<int64_t>({2048, 3072, 4097, 5000, 8191});
  if (draw.between(0, 3) == 0) (draw.coin() ? p.m : p.n) = draw.pick<int64_t>({1, 2, 3, 8, 16});
  while (p.m * p.n * p.k > 60'000'000) (p.m > p.n ? p.m : p.n) /= 2;
  if (draw.coin()) p.out = DType::f32;
  p.options = {draw.coin(), draw.coin(), draw.coin(), draw.pick({1.0f, 1.0f, -0.5f, 0.37f})};
  return p;
}

std::vector<Tensor> multiply(Context& ctx, Draw& draw, const ProductCase& p, bool may_be_wide = true) {
  const bool ta = p.options.transpose_a, tb = p.options.transpose_b;
  const auto matrix = [&](int64_t rows, int64_t count, DType dtype) {
    return may_be_wide ? draw.columns(ctx, rows, count, dtype) : draw.tensor(ctx, {rows, count}, dtype);
  };
  const ops::Columns a = matrix(ta ? p.k : p.m, ta ? p.m : p.k, p.in);
  const Tensor b = draw.tensor(ctx, tb ? Shape{p.n, p.k} : Shape{p.k, p.n}, p.in);
  const Tensor bias = p.with_bias ? draw.tensor(ctx, {p.n}) : Tensor();
  const ops::Columns c = matrix(p.m, p.n, p.out);
  ops::gemm(ctx, p.options, a, b, bias, c);
  return {c.matrix};
}

template <DType dtype>
std::vector<Tensor> gemm(Context& ctx, Draw draw) {
  return multiply(ctx, draw, draw_product(draw, dtype));
}

// Layers whose bits have been seen to depend on the number of threads: feed-forward of 1024 beside a hidden
// size of 320 or 384, experts, a head over an odd vocabulary; forward and both backward products.
std::vector<Tensor> gemm_of_layers(Context& ctx, Draw draw) {
  const int64_t in = draw.pick<int64_t>({320, 384, 256, 700, 64}), tokens = draw.pick<int64_t>({8, 63, 130});
  const int64_t out = draw.pick<int64_t>({1024, 700, 1031, 65, 2051});
  const DType dtype = draw.compute_type();
  switch (draw.between(0, 2)) {
    case 0:
      return multiply(ctx, draw, {tokens, out, in, dtype, dtype, draw.coin(), {.transpose_b = true}});
    case 1:
      return multiply(ctx, draw, {tokens, in, out, dtype, dtype, false, {}});
    default:
      return multiply(ctx, draw,
                      {out, in, tokens, dtype, DType::f32, false, {.transpose_a = true, .accumulate = true}});
  }
}

// Shapes that oneDNN sums up in other ways with other threads or other blocks.
std::vector<Tensor> seen_to_differ(Context& ctx, Draw draw) {
  const ops::GemmOptions of_weights{.transpose_a = true, .accumulate = true};
  std::vector<Tensor> results;
  for (const ProductCase& p : {ProductCase{64, 320, 1024, DType::f32, DType::f32, false, {}},
                               ProductCase{2048, 320, 1024, DType::bf16, DType::f32, false, of_weights},
                               ProductCase{65, 1, 320, DType::f32, DType::f32, true, {true, false, false}},
                               ProductCase{256, 2, 3072, DType::bf16, DType::bf16, true, {true, true}}}) {
    results.push_back(multiply(ctx, draw, p, false).front());
  }
  return results;
}

std::vector<Tensor> linear_layer(Context& ctx, Draw draw) {
  const int64_t rows = draw.size(300), in = draw.size(700), out = draw.size(700);
  const DType dtype = draw.compute_type();
  const Tensor x = draw.tensor(ctx, {rows, in}, dtype), w = draw.tensor(ctx, {out, in}, dtype),
               dy = draw.tensor(ctx, {rows, out}, dtype), bias = draw.tensor(ctx, {out}),
               dw = draw.tensor(ctx, {out, in}), dbias = draw.tensor(ctx, {out}),
               h = Tensor::empty(ctx, dy.shape(), dtype), y = Tensor::empty(ctx, dy.shape(), dtype),
               dh = Tensor::empty(ctx, x.shape(), dtype), sums = draw.tensor(ctx, {out});
  ops::linear_gelu(ctx, x, w, bias, h, y);
  ops::linear_backward_input_gelu(ctx, dy, w, x, dh);
  ops::linear_backward_weight(ctx, dy, x, dw, dbias);
  ops::add_column_sums(ctx, dy, sums);
  return {h, y, dh, dw, dbias, sums};
}

std::vector<Tensor> grouped(Context& ctx, Draw draw) {
  const int64_t experts = draw.pick<int64_t>({1, 2, 4, 8, 13}), in = draw.size(320), out = draw.size(700);
  const DType dtype = draw.compute_type();
  std::vector<int64_t> counts;
  for (int64_t e = 0; e < experts; ++e) counts.push_back(draw.coin() ? draw.between(0, 3) : draw.size(160));
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const Tensor x = draw.tensor(ctx, {rows, in}, dtype), w = draw.tensor(ctx, {experts * out, in}, dtype),
               dy = draw.tensor(ctx, {rows, out}, dtype), y = Tensor::empty(ctx, {rows, out}, dtype),
               dx = Tensor::empty(ctx, {rows, in}, dtype), dw = draw.tensor(ctx, w.shape());
  ops::grouped_linear(ctx, x, counts, w, y);
  ops::grouped_linear_backward_input(ctx, dy, counts, w, dx);
  ops::grouped_linear_backward_weight(ctx, dy, x, counts, dw);
  return {y, dx, dw};
}

ops::PackedWeight drawn_weight(Context& ctx, Draw& draw, int64_t matrices, int64_t outputs, int64_t inputs) {
  using ops::PackedFormat;
  std::vector<float> values =
      ops::to_host_f32(ctx, draw.tensor(ctx, {matrices * outputs, inputs}, DType::f32));
  ops::PackedSpec spec{draw.pick({PackedFormat::f32, PackedFormat::bf16, PackedFormat::f16,
                                  PackedFormat::int8, PackedFormat::int4, PackedFormat::fp8})};
  if (spec.format == PackedFormat::int8 || spec.format == PackedFormat::int4) {
    spec.group = draw.pick<int64_t>({0, 32, 64, 128});
    spec.symmetric = draw.coin();
  }
  spec.sparse = ops::can_be_sparse(spec) && draw.coin();
  for (float& value : values) {
    if (spec.sparse && value < 0.1f) value = 0.0f;
  }
  return ops::pack_rows(ctx, spec, matrices, outputs, inputs, [&](int64_t row, std::span<float> to) {
    std::copy_n(values.begin() + row * inputs, inputs, to.begin());
  });
}

std::vector<Tensor> packed(Context& ctx, Draw draw) {
  const int64_t experts = draw.between(1, 5), in = draw.size(700), out = draw.size(300);
  const DType dtype = draw.compute_type();
  const auto activations =
      draw.pick({ops::Activations::exact, ops::Activations::int8, ops::Activations::int8_rows});
  std::vector<int64_t> counts;
  for (int64_t e = 0; e < experts; ++e) counts.push_back(draw.coin() ? draw.between(0, 3) : draw.size(70));
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  ops::PackedWeight w = drawn_weight(ctx, draw, 1, out, in);
  const ops::PackedWeight of_experts = drawn_weight(ctx, draw, experts, out, in);
  const Tensor x = draw.tensor(ctx, {rows, in}, dtype), y = Tensor::empty(ctx, {rows, out}, dtype),
               z = Tensor::empty(ctx, {rows, out}, dtype), words = Tensor::empty(ctx, {rows, in}, dtype);
  std::vector<int32_t> backwards;
  for (int64_t i = in; i > 0; --i) backwards.push_back(static_cast<int32_t>(i - 1));
  const Tensor order = ops::to_device(ctx, backwards, {1, in}),
               ordered = Tensor::empty(ctx, {rows, in}, dtype);
  ops::order_columns(ctx, x, order, ordered);
  if (draw.coin()) w.order = order;
  ops::packed_linear(ctx, x, w, activations, draw.coin() ? draw.tensor(ctx, {out}) : Tensor(), y);
  ops::packed_grouped_linear(ctx, x, counts, of_experts, activations, z);
  ops::packed_embedding(ctx, draw.indices(ctx, {rows}, out + 5), w, {0, out + 5}, {}, {}, words);
  return {y, z, words, ordered};
}

std::vector<Tensor> float8(Context& ctx, Draw draw) {
  const int64_t m = draw.size(400), n = draw.size(400), k = draw.size(1500);
  const ops::GemmOptions options{false, true, draw.coin(), 1.0f};
  const auto quantized = [&](const Shape& shape, DType type) {
    const ops::ScaledTensor q{Tensor::empty(ctx, shape, type), Tensor::empty(ctx, {1}, DType::f32)};
    ops::quantize(ctx, draw.tensor(ctx, shape, draw.compute_type()), q);
    return q;
  };
  const auto a = quantized({m, k}, DType::f8e4m3),
             b = quantized({n, k}, draw.pick({DType::f8e4m3, DType::f8e5m2}));
  const Tensor wide = Tensor::empty(ctx, {m, k}, draw.compute_type());
  ops::dequantize(ctx, a, wide);
  const Tensor c = draw.tensor(ctx, {m, n}, draw.compute_type());
  ops::gemm_float8(ctx, options, a, b, draw.coin() ? draw.tensor(ctx, {n}) : Tensor(), c);
  return {a.values, a.scale, b.values, wide, c};
}

}  // namespace

const OpCases& product_cases() {
  static const OpCases all{{"GemmF32", gemm<DType::f32>},
                           {"GemmBf16", gemm<DType::bf16>},
                           {"GemmF16", gemm<DType::f16>},
                           {"GemmOfLayers", gemm_of_layers},
                           {"SeenToDiffer", seen_to_differ},
                           {"LinearLayer", linear_layer},
                           {"Grouped", grouped},
                           {"Packed", packed},
                           {"Float8", float8}};
  return all;
}

}  // namespace trireme::test
