#include <limits>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/cpu/attention/attention_rows.h"
#include "runtime/ops/cpu/attention/attention_tiles.h"
#include "runtime/ops/cpu/attention/sparse_keys.h"

namespace trireme::ops::cpu {

namespace {

using namespace attention_tiles;

struct Backward {
  const AttentionShape& s;
  const Columns &q, &k, &v;
  const Tensor &out, &lse, &dout;
  const Columns &dq, &dk, &dv;

  struct Memory {
    Memory(const AttentionShape& s, DType dtype, Scratch scratch) {
      const int64_t widened = dtype == DType::f32 ? 0 : s.head_dim;
      const int64_t seen = limits_of(s).seen_by(kBlock), stride = score_stride(seen);
      p = {scratch.take(kBlock * stride), stride};
      dp = {scratch.take(kBlock * stride), stride};
      for (float** block : {&q, &out, &dout, &dq}) *block = scratch.take(kBlock * widened);
      for (float** all : {&k, &v, &dk, &dv}) *all = scratch.take(s.kv_len * widened);
      for (float** part : {&some.k, &some.v, &some.dk, &some.dv})
        *part = scratch.take(s.pattern ? seen * s.head_dim : 0);
      size = scratch.taken();
    }
    Tile p, dp;
    float *q, *out, *dout, *dq, *k, *v, *dk, *dv;
    struct {
      float *k, *v, *dk, *dv;
    } some;  // under a pattern those that a block sees, side by side
    int64_t size;
  };

  // Keys and values of one head and their gradients.
  struct KeyValues {
    Tile k, v, dk, dv;
    KeyValues from(int64_t key) const { return {k.from(key), v.from(key), dk.from(key), dv.from(key)}; }
  };

  Memory memory(float* begin) const { return {s, out.dtype(), Scratch(begin)}; }

  // One key/value head with all the query heads that read it, in their order: nobody else adds to its
  // gradients.
  void run(int64_t b, int64_t kv_head, const Memory& m) const {
    const int64_t d = s.head_dim, group = s.num_heads / s.num_kv_heads;
    const auto rows_of = [&](const Columns& c) {
      return HeadRows(c.matrix, b * s.kv_len, s.kv_len, c.begin + kv_head * d, d);
    };
    const KeyValues kv{rows_of(k).load(m.k), rows_of(v).load(m.v), rows_of(dk).tile(m.dk),
                       rows_of(dv).tile(m.dv)};
    set_zero(kv.dk, s.kv_len, d);
    set_zero(kv.dv, s.kv_len, d);
    if (s.pattern) {
      for (int64_t begin = 0; begin < s.q_len; begin += kBlock) run_sparse(b, kv_head, begin, kv, m);
    } else {
      for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
        for (int64_t begin = 0; begin < s.q_len; begin += kBlock) {
          const KeyRange range = visible_keys(s, b, begin, std::min(kBlock, s.q_len - begin));
          run_block(b, h, begin, {range, {}, range.size()}, kv.from(range.begin), m);
        }
      }
    }
    rows_of(dk).store(kv.dk);
    rows_of(dv).store(kv.dv);
  }

  // The keys that a block of queries sees, side by side: a range of them, or under a pattern copies.
  struct Seen {
    KeyRange range;
    SparseKeys sparse;
    int64_t count;
  };

  // A block of queries of all heads against copies of the keys it sees.
  void run_sparse(int64_t b, int64_t kv_head, int64_t begin, const KeyValues& all, const Memory& m) const {
    Seen seen{{}, SparseKeys(s.places(b), begin, std::min(s.q_len, begin + kBlock)), 0};
    seen.count = seen.sparse.num_keys();
    const KeyValues some = copies(all, seen.sparse, m);
    set_zero(some.dk, seen.count, s.head_dim);
    set_zero(some.dv, seen.count, s.head_dim);
    const int64_t group = s.num_heads / s.num_kv_heads;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) run_block(b, h, begin, seen, some, m);
    add_copies(some, seen.sparse, all);
  }
  // Calls body(first row of the copies, first key, rows) for the groups that were copied.
  template <class Body>
  void for_each_copy(const SparseKeys& sparse, Body&& body) const {
    int64_t row = 0;
    for (const int64_t key : sparse.groups()) {
      body(row, key, std::min(kTokenGroup, s.kv_len - key));
      row += kTokenGroup;
    }
  }
  KeyValues copies(const KeyValues& all, const SparseKeys& sparse, const Memory& m) const {
    const int64_t d = s.head_dim;
    const KeyValues some{{m.some.k, d}, {m.some.v, d}, {m.some.dk, d}, {m.some.dv, d}};
    for_each_copy(sparse, [&](int64_t row, int64_t key, int64_t rows) {
      for (int64_t i = 0; i < kTokenGroup; ++i) {
        for (const auto& [from, to] : {std::pair(all.k, some.k), std::pair(all.v, some.v)}) {
          if (i < rows)
            std::copy_n(from.row(key + i), d, to.row(row + i));
          else
            std::fill_n(to.row(row + i), d, 0.0f);
        }
      }
    });
    return some;
  }
  void add_copies(const KeyValues& some, const SparseKeys& sparse, const KeyValues& all) const {
    for_each_copy(sparse, [&](int64_t row, int64_t key, int64_t rows) {
      for (int64_t i = 0; i < rows; ++i) {
        attention_rows::add(all.dk.row(key + i), some.dk.row(row + i), s.head_dim);
        attention_rows::add(all.dv.row(key + i), some.dv.row(row + i), s.head_dim);
      }
    });
  }

  // FlashAttention-2, algorithm 2, with a block of queries against all the keys it sees.
  void run_block(int64_t b, int64_t h, int64_t begin, const Seen& seen, const KeyValues& kv,
                 const Memory& m) const {
    const int64_t d = s.head_dim, rows = std::min(kBlock, s.q_len - begin), keys = seen.count;
    const auto rows_of = [&](const Tensor& matrix, int64_t column) {
      return HeadRows(matrix, b * s.q_len + begin, rows, column + h * d, d);
    };
    const HeadRows dq_rows = rows_of(dq.matrix, dq.begin);
    const Tile dqueries = dq_rows.tile(m.dq);
    if (keys == 0) {
      set_zero(dqueries, rows, d);
      return dq_rows.store(dqueries);
    }
    const Tile queries = rows_of(q.matrix, q.begin).load(m.q);
    const Tile o = rows_of(out, 0).load(m.out), d_o = rows_of(dout, 0).load(m.dout);
    product(false, true, rows, keys, d, s.scale, queries, kv.k, 0.0f, m.p);
    product(false, true, rows, keys, d, 1.0f, d_o, kv.v, 0.0f, m.dp);
    const float* row_lse = lse.data<float>() + (b * s.num_heads + h) * s.q_len + begin;
    for (int64_t i = 0; i < rows; ++i) {
      const float delta = attention_rows::dot(o.row(i), d_o.row(i), d);
      const KeyRange own =
          s.pattern ? KeyRange{0, keys} : visible_keys(s, b, begin + i).from(seen.range.begin);
      differentiate(m.p.row(i), m.dp.row(i), own, keys, row_lse[i], delta);
      if (!s.pattern) continue;
      for (const Tile* t : {&m.p, &m.dp})
        attention_rows::hide(t->row(i), seen.sparse.row(i).masks, seen.sparse.num_groups(), 0.0f);
    }
    product(true, false, keys, d, rows, 1.0f, m.p, d_o, 1.0f, kv.dv);
    product(true, false, keys, d, rows, 1.0f, m.dp, queries, 1.0f, kv.dk);
    product(false, false, rows, d, keys, 1.0f, m.dp, kv.k, 0.0f, dqueries);
    dq_rows.store(dqueries);
  }

  // A row of scores becomes p, and the derivative by p that by the products of queries and keys; zeros out of
  // view.
  void differentiate(float* p, float* dp, const KeyRange& seen, int64_t width, float row_lse,
                     float delta) const {
    const int64_t first = seen.begin;
    const int64_t n = row_lse == -std::numeric_limits<float>::infinity() ? 0 : seen.size();
    std::fill_n(p, first, 0.0f);
    std::fill_n(dp, first, 0.0f);
    if (s.soft_cap > 0) {
      attention_rows::capped_score_gradient(p + first, dp + first, n, width - first, row_lse, delta, s.scale,
                                            s.soft_cap);
    } else {
      attention_rows::score_gradient(p + first, dp + first, n, width - first, row_lse, delta, s.scale);
    }
  }
};

}  // namespace

void attention_backward(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                        const Columns& dq, const Columns& dk, const Columns& dv) {
  expect_rising_first_keys(s);
  const Backward backward{s, q, k, v, out, lse, dout, dq, dk, dv};
  TRIREME_CHECK(backward.memory(nullptr).size ==
                    attention_backward_floats(limits_of(s), s.head_dim, out.dtype() != DType::f32),
                "scratch of {} floats, unlike what is predicted", backward.memory(nullptr).size);
  run_tasks(ctx, s.batch * s.num_kv_heads, backward.memory(nullptr).size, [&](int64_t t, float* scratch) {
    backward.run(t / s.num_kv_heads, t % s.num_kv_heads, backward.memory(scratch));
  });
}

}  // namespace trireme::ops::cpu
