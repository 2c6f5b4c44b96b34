// Of what layers do beside products.
#include "tests/runtime/ops/thread_cases/thread_cases.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/attention_merge.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/attention/rotary.h"
#include "runtime/ops/convolution.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/head_norm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/permute.h"
#include "runtime/ops/routing.h"
#include "runtime/ops/shared_norm.h"

namespace trireme::test {
namespace {

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

std::vector<Tensor> rotary(Context& ctx, Draw draw) {
  const int64_t dim = draw.pick<int64_t>({2, 6, 16, 64, 128}), heads = draw.between(1, 9);
  const int64_t rows = draw.size(kElements / (dim * heads)), places = draw.between(1, 300);
  const ops::Columns x = draw.columns(ctx, rows, heads * dim, draw.compute_type());
  const int64_t rotated = draw.coin() ? dim : 2 * draw.between(1, dim / 2);
  ops::rotary(ctx, x, dim, draw.indices(ctx, {rows}, places), draw.tensor(ctx, {places, rotated}),
              draw.coin());
  return {x.matrix};
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

const OpCases& layer_cases() {
  static const OpCases all{{"Attention", attention},
                           {"PagedAttention", paged_attention},
                           {"Rotary", rotary},
                           {"Norms", norms},
                           {"HeadNorms", head_norms},
                           {"Convolutions", convolutions},
                           {"SharedNorms", shared_norms},
                           {"Embeddings", embeddings},
                           {"Mixture", mixture}};
  return all;
}

}  // namespace trireme::test
