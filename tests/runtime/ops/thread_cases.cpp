#include "tests/runtime/ops/thread_cases.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "runtime/ops/activation.h"
#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/attention_merge.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/attention/rotary.h"
#include "runtime/ops/convolution.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gemm/float8.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "runtime/ops/head_norm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/packed/packed_linear.h"
#include "runtime/ops/permute.h"
#include "runtime/ops/random.h"
#include "runtime/ops/routing.h"
#include "runtime/ops/shared_norm.h"
#include "runtime/ops/training/adamw.h"
#include "runtime/ops/training/clip.h"
#include "runtime/ops/training/cross_entropy.h"
#include "runtime/ops/training/distillation.h"
#include "runtime/ops/training/few_tokens.h"
#include "runtime/ops/training/finite.h"
#include "runtime/ops/training/muon.h"
#include "runtime/ops/training/state_distance.h"
#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::test {

int64_t Draw::size(int64_t largest) {
  switch (between(0, 3)) {
    case 0:
      return between(1, std::min<int64_t>(largest, 70));
    case 1:
      return std::min(largest, pick<int64_t>({64, 96, 128, 256, 320, 384, 512, 768, 1024, 2048}));
    default:
      return between(1, largest);
  }
}

Tensor Draw::tensor(Context& ctx, const Shape& shape, DType dtype) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (float& value : values) value = static_cast<float>(static_cast<int32_t>(generator_() >> 32)) * 0x1p-31f;
  return make_tensor(ctx, shape, dtype, values);
}

ops::Columns Draw::columns(Context& ctx, int64_t rows, int64_t count, DType dtype) {
  if (coin()) return tensor(ctx, {rows, count}, dtype);
  const int64_t before = between(0, 17), after = between(0, 17);
  return {tensor(ctx, {rows, before + count + after}, dtype), before, count};
}

Tensor Draw::indices(Context& ctx, const Shape& shape, int64_t limit, int64_t least) {
  const Tensor t = Tensor::empty(ctx, shape, DType::i32);
  std::vector<int32_t> values(static_cast<size_t>(shape.numel()));
  for (int32_t& value : values) value = static_cast<int32_t>(between(least, limit - 1));
  write(t, values);
  return t;
}

namespace {

constexpr int64_t kElements = 200'000;  // of what is read from one end to the other

Tensor f64(Context& ctx, const Shape& shape, double value = 0) {
  const Tensor t = Tensor::empty(ctx, shape, DType::f64);
  write(t, std::vector<double>(static_cast<size_t>(shape.numel()), value));
  return t;
}

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

ops::KeyPattern key_pattern(Draw& draw) {
  ops::KeyPattern p;
  if (draw.coin()) p.sinks = draw.between(1, 20);
  if (draw.coin()) p.stride = draw.between(1, 40), p.stride_keys = draw.between(0, 5);
  if (draw.coin())
    p.block = draw.between(1, 40), p.summary = draw.between(1, p.block), p.reach = draw.between(0, 3);
  if (draw.coin()) p.num_globals = 2, p.globals = {0, static_cast<int32_t>(draw.between(1, 150))};
  return p;
}

std::vector<Tensor> attention(Context& ctx, Draw draw) {
  ops::AttentionShape s;
  s.batch = draw.between(1, 3);
  s.q_len = draw.size(200);
  s.kv_len = draw.coin() ? s.q_len : draw.size(500);
  s.num_kv_heads = draw.between(1, 4);
  s.num_heads = s.num_kv_heads * draw.between(1, 3);
  s.head_dim = draw.pick<int64_t>({8, 16, 20, 32, 64, 128});
  s.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  s.causal = draw.coin();
  if (s.causal && draw.coin()) s.window = draw.between(1, 300);
  if (draw.coin()) s.soft_cap = 2;
  if (draw.coin()) s.shift = draw.between(-30, 200);
  if (s.causal && draw.coin()) s.pattern = key_pattern(draw);
  if (s.causal && draw.coin()) {
    std::vector<int32_t> first_keys;
    for (int64_t n = 0; n < s.batch * s.q_len; ++n) {
      const int32_t before = n % s.q_len == 0 ? 0 : first_keys.back();
      const int64_t place = s.places(0).query_place + n % s.q_len;
      const bool begins = place >= before && draw.between(0, 20) == 0;
      first_keys.push_back(s.pattern ? (begins ? static_cast<int32_t>(place) : before)
                                     : before + static_cast<int32_t>(draw.between(0, 2)));
    }
    s.first_key = ops::to_device(ctx, first_keys, {s.batch, s.q_len});
  }
  const DType dtype = draw.compute_type();
  const int64_t width = s.num_heads * s.head_dim, kv_width = s.num_kv_heads * s.head_dim;
  const int64_t rows = s.batch * s.q_len, kv_rows = s.batch * s.kv_len;
  const ops::Columns q = draw.columns(ctx, rows, width, dtype),
                     k = draw.columns(ctx, kv_rows, kv_width, dtype),
                     v = draw.columns(ctx, kv_rows, kv_width, dtype),
                     dq = draw.columns(ctx, rows, width, dtype),
                     dk = draw.columns(ctx, kv_rows, kv_width, dtype),
                     dv = draw.columns(ctx, kv_rows, kv_width, dtype);
  const Tensor out = Tensor::empty(ctx, {rows, width}, dtype), dout = draw.tensor(ctx, {rows, width}, dtype),
               lse = Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32);
  ops::attention(ctx, s, q, k, v, out, lse);
  ops::attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
  const int64_t first = draw.between(0, 20);
  const Tensor whole = draw.tensor(ctx, {s.batch * (s.q_len + first), width}),
               whole_lse = draw.tensor(ctx, {s.batch, s.num_heads, s.q_len + first});
  ops::merge_attention(ctx, out, lse, first, whole, whole_lse);
  return {out, lse, dq.matrix, dk.matrix, dv.matrix, whole, whole_lse};
}

// Sequences from their beginnings on, and the same once more over copies of their first blocks.
std::vector<Tensor> paged_attention(Context& ctx, Draw draw) {
  ops::PagedShape s;
  s.num_kv_heads = draw.between(1, 4);
  s.num_heads = s.num_kv_heads * draw.between(1, 3);
  s.head_dim = draw.pick<int64_t>({16, 20, 64, 128});
  s.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  if (draw.coin()) s.window = draw.between(1, 300);
  if (draw.coin()) s.pattern = key_pattern(draw);
  constexpr int64_t kTokens = 16, kWidth = 40;
  const int64_t sequences = draw.between(1, 3);
  std::vector<int32_t> table, numbers, places, from, to;
  ops::PagedRows rows;
  rows.starts = {0};
  for (int32_t i = 0; i < sequences; ++i) {
    rows.lengths.push_back(static_cast<int32_t>(draw.size(kTokens * kWidth)));
    rows.starts.push_back(rows.starts.back() + rows.lengths.back());
    for (int32_t p = 0; p < rows.lengths.back(); ++p) numbers.push_back(i), places.push_back(p);
    for (int32_t b = 0; b < kWidth; ++b) table.push_back(i * static_cast<int32_t>(kWidth) + b);
    from.push_back(i * static_cast<int32_t>(kWidth));
    to.push_back(static_cast<int32_t>(sequences * kWidth) + i);
  }
  const auto n = static_cast<int64_t>(places.size());
  rows.block_tables = ops::to_device(ctx, table, {sequences, kWidth});
  rows.sequences = ops::to_device(ctx, numbers, {n});
  rows.places = ops::to_device(ctx, places, {n});
  const DType dtype = draw.compute_type();
  const ops::KeyValueBlocks blocks =
      ops::make_key_value_blocks(ctx, sequences * (kWidth + 1), s.num_kv_heads, s.head_dim, kTokens, dtype,
                                 draw.coin() ? ops::CacheType::plain : ops::CacheType::int8);
  const int64_t width = s.num_heads * s.head_dim, kv_width = s.num_kv_heads * s.head_dim;
  const ops::Columns q = draw.columns(ctx, n, width, dtype), k = draw.columns(ctx, n, kv_width, dtype),
                     v = draw.columns(ctx, n, kv_width, dtype);
  ops::store_keys_values(ctx, rows, k, v, blocks);
  const Tensor out = Tensor::empty(ctx, {n, width}, dtype), again = Tensor::empty(ctx, {n, width}, dtype);
  ops::paged_attention(ctx, s, rows, q, blocks, out);
  ops::copy_blocks(ctx, blocks, from, to);
  for (size_t i = 0; i < from.size(); ++i) table[static_cast<size_t>(from[i])] = to[i];
  rows.block_tables = ops::to_device(ctx, table, {sequences, kWidth});
  ops::paged_attention(ctx, s, rows, q, blocks, again);
  return {out, again};
}

std::vector<Tensor> norms(Context& ctx, Draw draw) {
  const int64_t width = draw.size(1100), rows = draw.size(kElements / width);
  const DType dtype = draw.compute_type();
  const Shape shape{rows, width};
  const bool has_residual = draw.coin();
  const Tensor x = draw.tensor(ctx, shape, dtype),
               residual = has_residual ? draw.tensor(ctx, shape, dtype) : Tensor(),
               sum = has_residual ? Tensor::empty(ctx, shape, dtype) : Tensor();
  const Tensor gain = draw.tensor(ctx, {width}), bias = draw.coin() ? draw.tensor(ctx, {width}) : Tensor();
  const Tensor y = Tensor::empty(ctx, shape, dtype), z = Tensor::empty(ctx, shape, dtype),
               mean = Tensor::empty(ctx, {rows}, DType::f32), rstd = Tensor::empty(ctx, {rows}, DType::f32),
               rms = Tensor::empty(ctx, {rows}, DType::f32);
  ops::layer_norm(ctx, x, residual, gain, bias, 1e-5f, sum, y, mean, rstd);
  ops::rms_norm(ctx, x, residual, gain, 1e-5f, sum, z, rms);
  const Tensor dy = draw.tensor(ctx, shape, dtype),
               dsum = draw.coin() ? draw.tensor(ctx, shape, dtype) : Tensor();
  const Tensor dx = Tensor::empty(ctx, shape, dtype), dz = Tensor::empty(ctx, shape, dtype),
               dgain = draw.tensor(ctx, {width}), drms = draw.tensor(ctx, {width}),
               dbias = bias ? draw.tensor(ctx, {width}) : Tensor();
  ops::layer_norm_backward(ctx, dy, dsum, has_residual ? sum : x, gain, mean, rstd, dx, dgain, dbias);
  ops::rms_norm_backward(ctx, dy, dsum, has_residual ? sum : x, gain, rms, dz, drms);
  return {sum, y, z, mean, rstd, rms, dx, dz, dgain, drms, dbias};
}

std::vector<Tensor> head_norms(Context& ctx, Draw draw) {
  const int64_t dim = draw.pick<int64_t>({1, 8, 33, 64, 128, 200}), heads = draw.between(1, 9);
  const int64_t rows = draw.size(kElements / (dim * heads)), width = dim * heads;
  const DType dtype = draw.compute_type();
  const ops::Columns x = draw.columns(ctx, rows, width, dtype), y = draw.columns(ctx, rows, width, dtype),
                     dy = draw.columns(ctx, rows, width, dtype), dx = draw.columns(ctx, rows, width, dtype);
  const Tensor gain = draw.tensor(ctx, {dim}), dgain = draw.tensor(ctx, {dim}),
               rstd = Tensor::empty(ctx, {rows, heads}, DType::f32);
  ops::rms_norm_heads(ctx, x, gain, 1e-6f, y, rstd);
  ops::rms_norm_heads_backward(ctx, dy, x, gain, rstd, dx, dgain);
  return {y.matrix, rstd, dx.matrix, dgain};
}

// Runs with something before them and behind, and the same rows through a cache.
std::vector<Tensor> convolutions(Context& ctx, Draw draw) {
  const int64_t kernel = draw.between(1, 6), width = draw.size(150);
  const ops::ConvolutionShape s{draw.between(1, 3), kernel + draw.size(150), width, kernel};
  const DType dtype = draw.compute_type();
  std::vector<int32_t> places;
  for (int64_t r = 0; r < s.rows(); ++r) places.push_back(static_cast<int32_t>(r));
  const ops::Columns abx = draw.columns(ctx, s.rows(), 3 * width, dtype),
                     dabx = draw.columns(ctx, s.rows(), 3 * width, dtype);
  const Shape all{s.rows(), width}, ends{s.rows_before(), width};
  const Tensor u = Tensor::empty(ctx, all, dtype), y = Tensor::empty(ctx, all, dtype),
               before = draw.tensor(ctx, ends, dtype), dafter = draw.tensor(ctx, ends),
               dy = draw.tensor(ctx, all, dtype), w = draw.tensor(ctx, {width, kernel, 1}),
               dw = draw.tensor(ctx, {width, kernel, 1}), dbefore = Tensor::empty(ctx, ends, DType::f32);
  const Tensor positions = ops::to_device(ctx, places, {s.rows()});
  ops::gated_inputs(ctx, abx, u);
  ops::convolution(ctx, s, u, before, abx, w, positions, y);
  ops::convolution_backward_before(ctx, s, dy, abx, w, positions, dbefore);
  ops::convolution_backward(ctx, s, dy, u, before, abx, w, positions, dafter, dabx, dw);
  const auto blocks = static_cast<int32_t>((s.rows() + 15) / 16);
  std::vector<int32_t> table;
  for (int32_t b = 0; b < blocks; ++b) table.push_back(blocks - 1 - b);
  const ops::PagedRows rows{ops::to_device(ctx, table, {1, blocks}),
                            ops::to_device(ctx, std::vector<int32_t>(places.size(), 0), {s.rows()}),
                            positions,
                            {0, static_cast<int32_t>(s.rows())},
                            {static_cast<int32_t>(s.rows())}};
  const Tensor cache = draw.tensor(ctx, {blocks, 16, width}, dtype), cached = Tensor::empty(ctx, all, dtype);
  ops::paged_convolution(ctx, rows, abx, w, cache, cached);
  return {u, y, dbefore, dabx.matrix, dw, cache, cached};
}

std::vector<Tensor> shared_norms(Context& ctx, Draw draw) {
  const int64_t width = draw.size(1500), rows = draw.size(kElements / width),
                all = width * draw.between(1, 4);
  const DType dtype = draw.compute_type();
  const ops::Columns x = draw.columns(ctx, rows, width, dtype), y = draw.columns(ctx, rows, width, dtype),
                     dy = draw.columns(ctx, rows, width, dtype), dx = draw.columns(ctx, rows, width, dtype),
                     squares = draw.columns(ctx, rows, 1, DType::f32),
                     rstd = draw.columns(ctx, rows, 1, DType::f32),
                     sums = draw.columns(ctx, rows, 1, DType::f32);
  const Tensor gain = draw.tensor(ctx, {width}), dgain = draw.tensor(ctx, {width});
  ops::shared_norm_squares(ctx, x, squares);
  ops::shared_norm(ctx, x, squares, all, gain, 1e-6f, y, rstd);
  ops::shared_norm_backward_sums(ctx, dy, x, gain, rstd, sums, dgain);
  ops::shared_norm_backward(ctx, dy, x, gain, rstd, sums, all, dx);
  return {squares.matrix, y.matrix, rstd.matrix, sums.matrix, dx.matrix, dgain};
}

std::vector<Tensor> cross_entropy(Context& ctx, Draw draw) {
  const int64_t vocab = draw.pick<int64_t>({1, 65, 1031, 4099, draw.size(3000)});
  const int64_t rows = draw.size(kElements / vocab), cut = draw.between(0, vocab - 1);
  const DType dtype = draw.compute_type();
  const ops::Columns logits = draw.columns(ctx, rows, vocab, dtype),
                     dlogits = draw.columns(ctx, rows, vocab, dtype);
  const Tensor targets = draw.indices(ctx, {rows}, vocab, ops::kIgnoredTarget),
               loss = Tensor::empty(ctx, {rows}, DType::f32),
               part_loss = Tensor::empty(ctx, {rows}, DType::f32),
               statistics = Tensor::empty(ctx, {1, rows, 4}, DType::f32);
  const ops::CrossEntropyOptions options{.gradient_scale = 0.7f,
                                         .soft_cap = draw.coin() ? 3.0f : 0.0f,
                                         .z_loss = draw.coin() ? 0.01f : 0.0f,
                                         .label_smoothing = draw.coin() ? 0.1f : 0.0f};
  const Tensor added = Tensor::empty(ctx, {rows}, DType::f32),
               part_added = Tensor::empty(ctx, {rows}, DType::f32);
  ops::cross_entropy(ctx, logits, targets, options, loss, draw.coin() ? dlogits : ops::Columns(), added);
  const Tensor weights = draw.tensor(ctx, {rows});
  const ops::TablePart part{cut, vocab};
  const ops::Columns here = {logits.matrix, logits.begin + cut, vocab - cut};
  const ops::Columns dhere = draw.columns(ctx, rows, vocab - cut, dtype);
  ops::cross_entropy_statistics(ctx, here, targets, part, options, statistics.view({rows, 4}));
  ops::cross_entropy_of_part(ctx, here, targets, part, options, statistics, part_loss, dhere, part_added,
                             weights);
  return {loss, added, dlogits.matrix, statistics, part_loss, part_added, dhere.matrix};
}

std::vector<Tensor> few_tokens(Context& ctx, Draw draw) {
  const int64_t vocab = draw.pick<int64_t>({1, 65, 4099, draw.size(3000)});
  const int64_t rows = draw.size(kElements / vocab), k = draw.between(1, 70), n = draw.between(1, 70);
  const ops::Columns logits = draw.columns(ctx, rows, vocab, draw.compute_type());
  const ops::LogitSoftmax softmax{draw.coin() ? 3.0f : 0.0f, draw.coin() ? 0.05f : 1.0f};
  const auto few = [&](int64_t count, DType dtype) { return Tensor::empty(ctx, {rows, count}, dtype); };
  const Tensor statistics = few(2, DType::f64), part_ids = few(k, DType::i32), values = few(k, DType::f32),
               ids = few(k, DType::i32), probabilities = few(k, DType::f32), draws = few(n, DType::i32),
               drawn = few(n, DType::i32), shares = few(n, DType::f32);
  const Tensor of_parts = statistics.view({1, rows, 2});
  ops::softmax_statistics(ctx, logits, softmax, statistics);
  ops::likeliest_columns(ctx, logits, softmax, 0, part_ids, values);
  ops::merge_likeliest(ctx, softmax, of_parts, part_ids.view({1, rows, k}), values.view({1, rows, k}), ids,
                       probabilities);
  ops::draw_columns(ctx, logits, softmax, 0, 0, {.key = 3, .rows_a_sample = 5},
                    draw.indices(ctx, {rows}, 100), of_parts, draws);
  ops::merge_draws(ctx, draws, drawn, shares);
  return {statistics, part_ids, values, ids, probabilities, draws, drawn, shares};
}

std::vector<Tensor> distillation(Context& ctx, Draw draw) {
  const int64_t vocab = draw.pick<int64_t>({1, 65, 1031, 4099, draw.size(3000)});
  const int64_t rows = draw.size(kElements / vocab);
  const DType dtype = draw.compute_type();
  const ops::Columns logits = draw.columns(ctx, rows, vocab, dtype),
                     dlogits = draw.columns(ctx, rows, vocab, dtype);
  const Tensor targets = draw.indices(ctx, {rows}, vocab, ops::kIgnoredTarget),
               weights = draw.tensor(ctx, {rows}), loss = Tensor::empty(ctx, {rows}, DType::f32),
               added = Tensor::empty(ctx, {rows}, DType::f32),
               statistics = Tensor::empty(ctx, {1, rows, 8}, DType::f32),
               sums = Tensor::empty(ctx, {1, rows, 2}, DType::f32);
  const double mix = draw.pick<double>({0, 1, 0.1, 0.9, 0.3});
  const ops::DistillationOptions options{
      .entropy = {.soft_cap = draw.coin() ? 3.0f : 0.0f, .z_loss = 0.01f, .label_smoothing = 0.1f},
      .divergence = {mix, mix == 0.1   ? 1.0
                          : mix == 0.9 ? 0.0
                          : mix == 0.3 ? 0.3
                                       : 1 - mix},
      .weight = 0.7f,
      .temperature = draw.coin() ? 2.0f : 1.0f};
  ops::TeacherOfRows teacher;
  if (draw.coin()) {
    teacher = {.logits = draw.columns(ctx, rows, vocab, draw.compute_type()),
               .soft_cap = draw.coin() ? 4.0f : 0.0f};
  } else {
    teacher = {.ids = draw.indices(ctx, {rows, 1}, vocab, -1),
               .probabilities = Tensor::empty(ctx, {rows, 1}, DType::f32),
               .has_rest = true};
    ops::fill(ctx, teacher.probabilities, 0.4);
  }
  const ops::TablePart part{0, vocab};
  ops::distillation_statistics(ctx, logits, targets, part, teacher, options, statistics.view({rows, 8}));
  ops::distillation_divergence(ctx, logits, targets, part, teacher, options, statistics,
                               sums.view({rows, 2}));
  ops::distillation(ctx, logits, targets, part, teacher, options, statistics, sums, loss, dlogits, added,
                    weights);
  const DType type = draw.compute_type();
  const Tensor states = draw.tensor(ctx, {rows, vocab}, type),
               dstates = draw.tensor(ctx, {rows, vocab}, type),
               distances = Tensor::empty(ctx, {rows}, DType::f32);
  ops::state_distance(ctx, states, draw.tensor(ctx, {rows, vocab}, draw.compute_type()), targets, weights, {},
                      distances, dstates);
  return {statistics, sums, loss, added, dlogits.matrix, distances, dstates};
}

std::vector<Tensor> embeddings(Context& ctx, Draw draw) {
  const int64_t width = draw.size(800), rows = draw.size(kElements / width), vocab = draw.size(500);
  const int64_t here = draw.between(1, vocab), places = draw.between(1, 64);
  const DType dtype = draw.compute_type();
  const ops::TablePart part{draw.between(0, vocab - here), vocab};
  const Tensor ids = draw.indices(ctx, {rows}, vocab), table = draw.tensor(ctx, {here, width}, dtype),
               out = Tensor::empty(ctx, {rows, width}, dtype);
  const bool has_places = draw.coin();
  ops::embedding(ctx, ids, table, part, has_places ? draw.indices(ctx, {rows}, places) : Tensor(),
                 has_places ? draw.tensor(ctx, {places, width}, dtype) : Tensor(), out);
  const Tensor dtable = draw.tensor(ctx, {here, width});
  ops::embedding_backward(ctx, ids, draw.tensor(ctx, {rows, width}, dtype), part, dtable);
  return {out, dtable};
}

std::vector<Tensor> elementwise(Context& ctx, Draw draw) {
  const int64_t n = draw.size(kElements);
  const DType dtype = draw.compute_type();
  const Tensor a = draw.tensor(ctx, {n}, dtype), b = draw.tensor(ctx, {n}, dtype),
               sum = Tensor::empty(ctx, {n}, dtype), wide = draw.tensor(ctx, {n}),
               converted = Tensor::empty(ctx, {n}, draw.compute_type()), filled = clone(ctx, a);
  ops::add(ctx, a, b, sum);
  ops::scale(ctx, b, 0.3f);
  ops::accumulate(ctx, a, wide);
  ops::copy(ctx, a, converted);
  ops::fill(ctx, filled, 0.1);
  std::vector<uint8_t> where(static_cast<size_t>(n));
  for (size_t i = 0; i < where.size(); ++i) where[i] = static_cast<uint8_t>(i % 3);
  ops::zero_where(ctx, ops::to_device(ctx, where, {n}), filled);
  const Tensor activated = Tensor::empty(ctx, {n}, dtype), gradient = Tensor::empty(ctx, {n}, dtype);
  ops::gelu(ctx, a, activated);
  ops::gelu_backward(ctx, a, b, gradient);
  const Tensor exact = Tensor::empty(ctx, {n}, dtype), exact_gradient = Tensor::empty(ctx, {n}, dtype);
  ops::gelu_erf(ctx, a, exact);
  ops::gelu_erf_backward(ctx, a, b, exact_gradient);
  const int64_t width = draw.size(900), rows = draw.size(kElements / width);
  const ops::Columns from = draw.columns(ctx, rows, width, dtype), to = draw.columns(ctx, rows, width, dtype);
  ops::copy_columns(ctx, from, to);
  ops::soft_cap(ctx, from, 0.4f);
  const Tensor gate_up = draw.tensor(ctx, {rows, 2 * width}, dtype),
               dy = draw.tensor(ctx, {rows, width}, dtype), y = Tensor::empty(ctx, {rows, width}, dtype),
               dgate_up = Tensor::empty(ctx, gate_up.shape(), dtype);
  ops::swiglu(ctx, gate_up, y);
  ops::swiglu_backward(ctx, gate_up, dy, dgate_up);
  const Tensor z = Tensor::empty(ctx, y.shape(), dtype), dz = Tensor::empty(ctx, gate_up.shape(), dtype);
  ops::geglu(ctx, gate_up, z);
  ops::geglu_backward(ctx, gate_up, dy, dz);
  return {sum,       b,           wide, converted, filled, activated, gradient, exact, exact_gradient,
          to.matrix, from.matrix, y,    dgate_up,  z,      dz};
}

std::vector<Tensor> reductions(Context& ctx, Draw draw) {
  const int64_t n = draw.size(3 * kElements), blocks = draw.between(1, 200);
  const Tensor t = draw.tensor(ctx, {n}, draw.compute_type()),
               whole_blocks = draw.tensor(ctx, {blocks * ops::kSumBlock}, draw.compute_type());
  const Tensor sum = f64(ctx, {1}, 0.1), squares = f64(ctx, {1}, 0.1), in_order = f64(ctx, {1}, 0.1),
               sums = f64(ctx, {blocks}), first = Tensor::empty(ctx, {1}, DType::i64);
  ops::add_sum(ctx, t, sum);
  ops::add_sum_of_squares(ctx, t, squares);
  ops::block_sums_of_squares(ctx, whole_blocks, sums);
  ops::add_in_order(ctx, sums, in_order);
  auto values = to_vector(t);
  for (int64_t bad = draw.between(0, 3); bad > 0; --bad) {
    values[static_cast<size_t>(draw.between(0, n - 1))] = draw.pick({NAN, INFINITY});
  }
  ops::find_nonfinite(ctx, make_tensor(ctx, {n}, t.dtype(), values), first);
  const Tensor norm = f64(ctx, {1}), factor = draw.tensor(ctx, {1});
  ops::clip_factor(ctx, {.loss_scale = 2, .clip = 0.5}, f64(ctx, {1}, 100), squares, norm, factor);
  const Tensor spoilt = f64(ctx, {1}, 2);
  ops::propagate_nonfinite(ctx, squares, spoilt);
  return {sum, squares, sums, in_order, first, norm, factor, spoilt};
}

std::vector<Tensor> random_numbers(Context& ctx, Draw draw) {
  const int64_t width = draw.size(900), rows = draw.size(kElements / width);
  const Shape global{rows + draw.between(0, 9), width + draw.between(0, 9)};
  const Tensor normal = Tensor::empty(ctx, {rows, width}, DType::f32);
  ops::fill_normal(ctx, normal, 7, "name", global,
                   {draw.between(0, global[0] - rows), draw.between(0, global[1] - width)}, 0.5f, 0.2f);
  const DType dtype = draw.compute_type();
  const Tensor x = draw.tensor(ctx, {rows, width}, dtype), y = Tensor::empty(ctx, x.shape(), dtype);
  const int64_t per_sample = draw.between(1, 40), first = draw.between(0, 10);
  ops::jitter(ctx, {.eps = 0.1f, .key = 3, .rows_per_sample = per_sample},
              draw.indices(ctx, {rows + first}, per_sample), first, x, y);
  return {normal, y};
}

std::vector<Tensor> optimizer(Context& ctx, Draw draw) {
  const int64_t n = draw.size(kElements);
  ops::AdamWOptions options{.weight_decay = 0.1f};
  options.update = f64(ctx, {ops::kAdamWUpdateSize});
  write(options.update, ops::adamw_update(options, 1e-3, draw.between(1, 50)));
  if (draw.coin()) options.gradient_scale = draw.tensor(ctx, {1});
  const auto positive = [&] {
    const Tensor v = draw.tensor(ctx, {n});
    auto values = to_vector(v);
    for (float& value : values) value = std::abs(value);
    write(v, values);
    return v;
  };
  const Tensor gradient = draw.tensor(ctx, {n}), w = draw.tensor(ctx, {n}), m = draw.tensor(ctx, {n}),
               v = positive(), copy = Tensor::empty(ctx, {n}, DType::bf16);
  ops::adamw(ctx, options, gradient, w, m, v, draw.coin() ? copy : Tensor());
  const Tensor half = draw.tensor(ctx, {n}, DType::bf16), m2 = draw.tensor(ctx, {n}), v2 = positive();
  const int64_t begin = draw.between(0, n / 3), count = draw.between(0, n - begin);
  const std::vector<ops::ElementRange> ranges{
      {begin, begin + count, 5, {n + 10}, {draw.between(0, 10)}, {count}, 0}};
  ops::adamw_stochastic(ctx, options, gradient, half, m2, v2, ranges);
  return {w, m, v, half, m2, v2};
}

std::vector<Tensor> muon(Context& ctx, Draw draw) {
  const int64_t n = draw.size(kElements);
  ops::MuonOptions options{.nesterov = draw.coin(), .weight_decay = 0.1f, .scale = 2};
  options.update = f64(ctx, {ops::kMuonUpdateSize}, 1e-2);
  options.gradient_scale = draw.tensor(ctx, {1});
  const Tensor m = draw.tensor(ctx, {n}), w = draw.tensor(ctx, {n}),
               direction = Tensor::empty(ctx, {n}, DType::f32),
               normal = Tensor::empty(ctx, {n}, draw.compute_type()),
               copy = Tensor::empty(ctx, {n}, draw.compute_type()),
               half = Tensor::empty(ctx, {n}, DType::bf16);
  ops::muon_momentum(ctx, options, draw.tensor(ctx, {n}), m, direction);
  ops::muon_normalize(ctx, direction, f64(ctx, {1}, 9), normal);
  ops::muon_apply(ctx, options, normal, w, copy);
  const int64_t begin = draw.between(0, n / 3), count = draw.between(0, n - begin);
  const std::vector<ops::ElementRange> ranges{
      {begin, begin + count, 5, {n + 10}, {draw.between(0, 10)}, {count}, 0}};
  ops::round_stochastically(ctx, w, f64(ctx, {1}, static_cast<double>(draw.between(1, 50))), ranges, half);
  return {m, direction, normal, w, copy, half};
}

std::vector<Tensor> rotary(Context& ctx, Draw draw) {
  const int64_t dim = draw.pick<int64_t>({2, 6, 16, 64, 128}), heads = draw.between(1, 9);
  const int64_t rows = draw.size(kElements / (dim * heads)), places = draw.between(1, 300);
  const ops::Columns x = draw.columns(ctx, rows, heads * dim, draw.compute_type());
  const int64_t rotated = draw.coin() ? dim : 2 * draw.between(1, dim / 2);
  ops::rotary(ctx, x, dim, draw.indices(ctx, {rows}, places), draw.tensor(ctx, {places, rotated}),
              draw.coin());
  return {x.matrix};
}

std::vector<Tensor> mixture(Context& ctx, Draw draw) {
  ops::RouteOptions options{.sigmoid = draw.coin(), .normalize = draw.coin(), .gate_scale = 1.3f};
  if (draw.coin()) options.num_groups = 2;
  const int64_t experts = 2 * draw.between(1, 30), runs = draw.between(1, 4);
  const int64_t rows = runs * draw.size(2000), k = draw.between(1, std::min<int64_t>(experts / 2, 4));
  const Shape scores{rows, experts}, choices{rows, k};
  const Tensor logits = draw.tensor(ctx, scores), bias = draw.coin() ? draw.tensor(ctx, {experts}) : Tensor();
  const Tensor probabilities = Tensor::empty(ctx, scores, DType::f32),
               log_sum = Tensor::empty(ctx, {rows}, DType::f32),
               chosen = Tensor::empty(ctx, choices, DType::i32),
               gates = Tensor::empty(ctx, choices, DType::f32),
               dlogits = Tensor::empty(ctx, scores, DType::f32);
  ops::route(ctx, options, logits, bias, probabilities, log_sum, chosen, gates);
  const bool balances = draw.coin();
  ops::route_backward(ctx, options, logits, log_sum, chosen, draw.tensor(ctx, choices),
                      balances ? draw.tensor(ctx, {runs, experts}) : Tensor(),
                      balances ? draw.tensor(ctx, {runs}) : Tensor(), dlogits);
  const auto zeros = [&] {
    const Tensor t = Tensor::empty(ctx, {1, experts}, DType::i64);
    write(t, std::vector<int64_t>(static_cast<size_t>(experts), 0));
    return t;
  };
  // Each expert's queue begins where that of the last one ends.
  const Tensor counts = zeros(), base = zeros(), slots = Tensor::empty(ctx, choices, DType::i32);
  ops::count_choices(ctx, chosen, counts);
  std::vector<int64_t> begin = read<int64_t>(counts);
  std::exclusive_scan(begin.begin(), begin.end(), begin.begin(), int64_t{0});
  write(base, begin);
  ops::assign_slots(ctx, chosen, base, zeros(), draw.between(1, rows), slots);
  const int64_t width = draw.between(1, std::max<int64_t>(1, kElements / (rows * k)));
  const DType dtype = draw.compute_type();
  const Tensor x = draw.tensor(ctx, {rows, width}, dtype),
               by_expert = draw.tensor(ctx, {rows * k, width}, dtype),
               out = Tensor::empty(ctx, x.shape(), dtype), dy = Tensor::empty(ctx, by_expert.shape(), dtype),
               dgates = Tensor::empty(ctx, choices, DType::f32);
  ops::permute_rows(ctx, x, slots, by_expert);
  ops::combine_rows(ctx, by_expert, slots, draw.coin() ? gates : Tensor(), out);
  ops::combine_rows_backward(ctx, by_expert, slots, gates, x, dy, dgates);
  return {probabilities, log_sum, chosen, gates, dlogits, counts, slots, by_expert, out, dy, dgates};
}

}  // namespace

const std::map<std::string, OpCase>& thread_cases() {
  static const std::map<std::string, OpCase> all{{"GemmF32", gemm<DType::f32>},
                                                 {"GemmBf16", gemm<DType::bf16>},
                                                 {"GemmF16", gemm<DType::f16>},
                                                 {"GemmOfLayers", gemm_of_layers},
                                                 {"SeenToDiffer", seen_to_differ},
                                                 {"LinearLayer", linear_layer},
                                                 {"Grouped", grouped},
                                                 {"Packed", packed},
                                                 {"Float8", float8},
                                                 {"Attention", attention},
                                                 {"PagedAttention", paged_attention},
                                                 {"Norms", norms},
                                                 {"HeadNorms", head_norms},
                                                 {"SharedNorms", shared_norms},
                                                 {"Convolutions", convolutions},
                                                 {"CrossEntropy", cross_entropy},
                                                 {"FewTokens", few_tokens},
                                                 {"Distillation", distillation},
                                                 {"Embeddings", embeddings},
                                                 {"Elementwise", elementwise},
                                                 {"Reductions", reductions},
                                                 {"RandomNumbers", random_numbers},
                                                 {"Optimizer", optimizer},
                                                 {"Muon", muon},
                                                 {"Rotary", rotary},
                                                 {"Mixture", mixture}};
  return all;
}

}  // namespace trireme::test
