#include "runtime/ops/attention/attention.h"

#include <vector>

#include "runtime/ops/cpu/attention/query_tile.h"

namespace trireme::ops::cpu {

namespace {

using namespace attention_tiles;

// A task has blocks of queries one after the other, of all the heads that read one key/value head, which it
// brings into the kernels' layout once.
class Forward {
 public:
  Forward(int num_threads, const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v,
          const Tensor& out, const Tensor& lse)
      : s_(s),
        q_(q),
        k_(k),
        v_(v),
        out_(out),
        lse_(lse),
        part_(attention_task_blocks(s.q_len, s.window, s.batch * s.num_kv_heads, num_threads)) {}

  int64_t num_tasks() const { return s_.batch * s_.num_kv_heads * num_parts(); }
  int64_t scratch_floats() const {
    return attention_forward_floats(s_.kv_len, s_.window, s_.head_dim, part_, k_.dtype() != DType::f32);
  }

  void run(int64_t t, float* scratch) const {
    Memory m(*this, scratch);
    const int64_t kv_heads = s_.batch * s_.num_kv_heads;
    // The last queries see the most keys: they go first, lest one of them runs alone at the end.
    const int64_t part = num_parts() - 1 - t / kv_heads;
    const int64_t b = t % kv_heads / s_.num_kv_heads, kv_head = t % s_.num_kv_heads;
    const int64_t begin = part * part_ * kBlock, end = std::min(s_.q_len, begin + part_ * kBlock);
    const int64_t group = s_.num_heads / s_.num_kv_heads;
    const KeyRange keys = visible_keys(s_, b, begin, end - begin);
    if (keys.size() > 0) load(b, kv_head, keys, m);
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      for (int64_t row = begin; row < end; row += kBlock) {
        block(b, h, row, std::min(kBlock, end - row), keys, m);
      }
    }
  }

 private:
  struct Memory {
    Memory(const Forward& f, float* begin)
        : scratch(begin), tile(kBlock, f.s_.head_dim, attention_keys(f.s_.kv_len, f.s_.window), scratch) {
      // Whole groups; the first and the last may be seen in part.
      const int64_t most = (f.most_keys() / kTokenGroup + 2) * kTokenGroup, d = f.s_.head_dim;
      k = scratch.take(most * d);
      v = scratch.take(most * QueryTile::padded_head(d));
      widened = scratch.take(f.k_.dtype() == DType::f32 ? 0 : kTokenGroup * d);
      TRIREME_CHECK(scratch.taken() == f.scratch_floats(), "scratch of {} floats, unlike what is predicted",
                    scratch.taken());
    }
    Scratch scratch;
    QueryTile tile;
    float *k, *v, *widened;
    std::vector<const float*> key_groups, value_groups;
  };

  int64_t num_blocks() const { return (s_.q_len + kBlock - 1) / kBlock; }
  int64_t num_parts() const { return (num_blocks() + part_ - 1) / part_; }
  int64_t most_keys() const {
    return s_.window > 0 ? std::min(s_.kv_len, s_.window + part_ * kBlock - 1) : s_.kv_len;
  }

  // Brings the groups of these keys and their values into memory.
  void load(int64_t b, int64_t kv_head, const KeyRange& keys, Memory& m) const {
    const int64_t d = s_.head_dim, width = QueryTile::padded_head(d);
    const auto rows_of = [&](const Columns& c, int64_t first, int64_t count) {
      return HeadRows(c.matrix, b * s_.kv_len + first, count, c.begin + kv_head * d, d);
    };
    const int64_t begin = keys.begin / kTokenGroup * kTokenGroup;
    for (int64_t first = begin; first < keys.end; first += kTokenGroup) {
      const int64_t count = std::min(kTokenGroup, s_.kv_len - first);
      const Tile rows = rows_of(k_, first, count).load(m.widened);
      m.key_groups.push_back(m.k + (first - begin) * d);
      m.value_groups.push_back(m.v + (first - begin) * width);
      attention_kernels().pack_keys(rows.data, rows.stride, count, d, m.k + (first - begin) * d);
    }
    rows_of(v_, keys.begin, keys.size()).copy({m.v + (keys.begin - begin) * width, width}, width);
  }

  void block(int64_t b, int64_t h, int64_t begin, int64_t rows, const KeyRange& loaded, Memory& m) const {
    QueryTile& tile = m.tile;
    const int64_t d = s_.head_dim, width = QueryTile::padded_head(d), groups = std::ssize(m.key_groups);
    const int64_t place = loaded.begin / kTokenGroup * kTokenGroup;
    const KeyRange all{place, place + groups * kTokenGroup};
    tile.begin(rows);
    HeadRows(q_.matrix, b * s_.q_len + begin, rows, q_.begin + h * d, d).copy({tile.query(0), d}, d);
    attention_rows::multiply(tile.query(0), rows * d, s_.scale);
    for (int64_t i = 0; i < rows; ++i) tile.see(i, visible_keys(s_, b, begin + i));
    tile.score(TokenGroups<float>{m.key_groups.data(), groups, kTokenGroup}, place, all);
    float* row_lse = lse_.data<float>() + (b * s_.num_heads + h) * s_.q_len + begin;
    for (int64_t i = 0; i < rows; ++i) row_lse[i] = tile.weigh(i, s_.soft_cap);
    tile.add_values(TokenGroups<float>{m.value_groups.data(), groups, width}, place, all, 0, width);
    const HeadRows to(out_, b * s_.q_len + begin, rows, h * d, d);
    for (int64_t i = 0; i < rows; ++i) to.write(i, tile.finish(i));
  }

  const AttentionShape& s_;
  const Columns &q_, &k_, &v_;
  const Tensor &out_, &lse_;
  int64_t part_;  // blocks of queries in a task
};

}  // namespace

void attention(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v,
               const Tensor& out, const Tensor& lse) {
  expect_rising_first_keys(s);
  const Forward forward(ctx.num_threads(), s, q, k, v, out, lse);
  run_tasks(ctx, forward.num_tasks(), forward.scratch_floats(),
            [&](int64_t t, float* scratch) { forward.run(t, scratch); });
}

}  // namespace trireme::ops::cpu
