#include "runtime/ops/attention/attention.h"

#include <cmath>
#include <limits>

#include "runtime/ops/cpu/attention/attention_rows.h"
#include "runtime/ops/cpu/attention/attention_tiles.h"

namespace trireme::ops::cpu {

namespace {

using namespace attention_tiles;

struct Forward {
  const AttentionShape& s;
  const Columns &q, &k, &v;
  const Tensor &out, &lse;

  // Where a block keeps its scores and what it has to widen.
  struct Memory {
    Memory(const AttentionShape& s, DType dtype, Scratch scratch) {
      const int64_t widened = dtype == DType::f32 ? 0 : s.head_dim;
      const int64_t keys = most_keys(s);
      scores = {scratch.take(kBlock * score_stride(keys)), score_stride(keys)};
      q = scratch.take(kBlock * widened);
      out = scratch.take(kBlock * widened);
      k = scratch.take(keys * widened);
      v = scratch.take(keys * widened);
      size = scratch.taken();
    }
    Tile scores;
    float *q, *k, *v, *out;
    int64_t size;
  };

  int64_t num_blocks() const { return (s.q_len + kBlock - 1) / kBlock; }
  Memory memory(float* begin) const { return {s, out.dtype(), Scratch(begin)}; }

  // One block of queries of one head, for which no row of scores leaves the thread's cache.
  void run(int64_t b, int64_t h, int64_t block, const Memory& m) const {
    const int64_t d = s.head_dim, begin = block * kBlock;
    const int64_t rows = std::min(kBlock, s.q_len - begin);
    const KeyRange seen = visible_keys(s, b, begin, rows);
    const int64_t keys = seen.size(), first_key = b * s.kv_len + seen.begin;
    const int64_t kv_column = h / (s.num_heads / s.num_kv_heads) * d;
    const HeadRows out_rows(out, b * s.q_len + begin, rows, h * d, d);
    const Tile o = out_rows.tile(m.out);
    if (keys > 0) {
      const Tile queries = HeadRows(q.matrix, b * s.q_len + begin, rows, q.begin + h * d, d).load(m.q);
      const Tile all_keys = HeadRows(k.matrix, first_key, keys, k.begin + kv_column, d).load(m.k);
      product(false, true, rows, keys, d, s.scale, queries, all_keys, 0.0f, m.scores);
    }
    float* row_lse = lse.data<float>() + (b * s.num_heads + h) * s.q_len + begin;
    float inverse_sums[kBlock];
    for (int64_t i = 0; i < rows; ++i) {
      inverse_sums[i] =
          softmax(m.scores.row(i), visible_keys(s, b, begin + i).from(seen.begin), keys, row_lse[i]);
    }
    if (keys > 0) {
      const Tile values = HeadRows(v.matrix, first_key, keys, v.begin + kv_column, d).load(m.v);
      product(false, false, rows, d, keys, 1.0f, m.scores, values, 0.0f, o);
    } else {
      set_zero(o, rows, d);
    }
    for (int64_t i = 0; i < rows; ++i) attention_rows::multiply(o.row(i), d, inverse_sums[i]);
    out_rows.store(o);
  }

  // Leaves exponents in the row, zeros out of view, and returns what they are still to be multiplied by;
  // dividing the output costs less than dividing them.
  float softmax(float* row, const KeyRange& seen, int64_t width, float& row_lse) const {
    if (seen.size() == 0) {
      std::fill_n(row, width, 0.0f);
      row_lse = -std::numeric_limits<float>::infinity();
      return 0.0f;
    }
    float max;
    std::fill_n(row, seen.begin, 0.0f);
    row += seen.begin;
    if (s.soft_cap > 0) attention_rows::soft_cap(row, seen.size(), s.soft_cap);
    const float sum = attention_rows::exponentials(row, seen.size(), width - seen.begin, max);
    row_lse = max + std::log(sum);
    return 1.0f / sum;
  }
};

}  // namespace

void attention(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v,
               const Tensor& out, const Tensor& lse) {
  expect_rising_first_keys(s);
  const Forward forward{s, q, k, v, out, lse};
  const int64_t heads = s.batch * s.num_heads;
  run_tasks(ctx, heads * forward.num_blocks(), forward.memory(nullptr).size, [&](int64_t t, float* scratch) {
    // The last blocks see the most keys: they go first, lest one of them runs alone at the end.
    const int64_t block = forward.num_blocks() - 1 - t / heads;
    forward.run(t % heads / s.num_heads, t % s.num_heads, block, forward.memory(scratch));
  });
}

}  // namespace trireme::ops::cpu
