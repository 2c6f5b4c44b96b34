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
        part_(attention_task_blocks(s.q_len, limits_of(s), s.batch * s.num_kv_heads, num_threads)) {}

  int64_t num_tasks() const { return s_.batch * s_.num_kv_heads * num_parts(); }
  int64_t scratch_floats() const {
    return attention_forward_floats(limits_of(s_), s_.head_dim, part_, k_.dtype() != DType::f32);
  }

  void run(int64_t t, float* scratch) const {
    Memory m(*this, scratch);
    const int64_t kv_heads = s_.batch * s_.num_kv_heads;
    // The last queries see the most keys: they go first, lest one of them runs alone at the end.
    const int64_t part = num_parts() - 1 - t / kv_heads;
    const int64_t b = t % kv_heads / s_.num_kv_heads, kv_head = t % s_.num_kv_heads;
    const int64_t begin = part * part_ * kBlock, end = std::min(s_.q_len, begin + part_ * kBlock);
    const int64_t group = s_.num_heads / s_.num_kv_heads;
    const std::vector<int64_t> groups = groups_seen(b, begin, end);
    load(b, kv_head, groups, m);
    for (int64_t row = begin; row < end; row += kBlock) {
      const int64_t rows = std::min(kBlock, end - row);
      const Sight sight = sight_of(b, row, rows, groups, m);
      for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) block(b, h, row, rows, sight, m);
    }
  }

 private:
  struct Memory {
    Memory(const Forward& f, float* begin)
        : scratch(begin), tile(kBlock, f.s_.head_dim, limits_of(f.s_).seen_by(kBlock), scratch) {
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
  int64_t most_keys() const { return limits_of(s_).seen_by(part_ * kBlock); }

  // What a block of queries sees of the groups that its task has loaded.
  struct Sight {
    std::vector<const float*> keys, values;
    int64_t place;  // of the first group
    SparseKeys sparse;
  };

  // The first keys of the groups that queries [begin, end) see.
  std::vector<int64_t> groups_seen(int64_t b, int64_t begin, int64_t end) const {
    std::vector<int64_t> groups;
    if (s_.pattern) {
      const KeyPlaces places = s_.places(b);
      SeenTiles tiles(places, begin, end, kTokenGroup);
      for (int64_t key = tiles.next(); key != kNoPlace; key = tiles.next()) groups.push_back(key);
      return groups;
    }
    const KeyRange keys = visible_keys(s_, b, begin, end - begin);
    if (keys.size() == 0) return groups;
    for (int64_t key = keys.begin / kTokenGroup * kTokenGroup; key < keys.end; key += kTokenGroup)
      groups.push_back(key);
    return groups;
  }

  // Brings these groups and their values into memory.
  void load(int64_t b, int64_t kv_head, const std::vector<int64_t>& groups, Memory& m) const {
    const int64_t d = s_.head_dim, width = QueryTile::padded_head(d);
    float *keys = m.k, *values = m.v;
    for (const int64_t first : groups) {
      const int64_t count = std::min(kTokenGroup, s_.kv_len - first);
      const auto rows_of = [&](const Columns& c) {
        return HeadRows(c.matrix, b * s_.kv_len + first, count, c.begin + kv_head * d, d);
      };
      const Tile rows = rows_of(k_).load(m.widened);
      attention_kernels().pack_keys(rows.data, rows.stride, count, d, keys);
      rows_of(v_).copy({values, width}, width);
      m.key_groups.push_back(keys);
      m.value_groups.push_back(values);
      keys += kTokenGroup * d;
      values += kTokenGroup * width;
    }
  }

  Sight sight_of(int64_t b, int64_t begin, int64_t rows, const std::vector<int64_t>& loaded,
                 const Memory& m) const {
    if (!s_.pattern) return {m.key_groups, m.value_groups, loaded.empty() ? 0 : loaded[0], {}};
    Sight sight{{}, {}, 0, SparseKeys(s_.places(b), begin, begin + rows)};
    size_t at = 0;
    for (const int64_t key : sight.sparse.groups()) {
      while (loaded[at] < key) ++at;
      sight.keys.push_back(m.key_groups[at]);
      sight.values.push_back(m.value_groups[at]);
    }
    return sight;
  }

  void block(int64_t b, int64_t h, int64_t begin, int64_t rows, const Sight& sight, Memory& m) const {
    QueryTile& tile = m.tile;
    const int64_t d = s_.head_dim, width = QueryTile::padded_head(d), groups = std::ssize(sight.keys);
    const KeyRange all{sight.place, sight.place + groups * kTokenGroup};
    tile.begin(rows);
    HeadRows(q_.matrix, b * s_.q_len + begin, rows, q_.begin + h * d, d).copy({tile.query(0), d}, d);
    attention_rows::multiply(tile.query(0), rows * d, s_.scale);
    for (int64_t i = 0; i < rows; ++i) {
      if (s_.pattern)
        tile.see(i, sight.sparse.row(i));
      else
        tile.see(i, visible_keys(s_, b, begin + i));
    }
    tile.score(TokenGroups<float>{sight.keys.data(), groups, kTokenGroup}, sight.place, all);
    float* row_lse = lse_.data<float>() + (b * s_.num_heads + h) * s_.q_len + begin;
    for (int64_t i = 0; i < rows; ++i) row_lse[i] = tile.weigh(i, s_.soft_cap);
    tile.add_values(TokenGroups<float>{sight.values.data(), groups, width}, sight.place, all, 0, width);
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
