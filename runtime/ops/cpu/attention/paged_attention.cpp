#include "runtime/ops/attention/paged_attention.h"

#include "runtime/ops/cpu/attention/paged_tasks.h"
#include "runtime/ops/cpu/attention/query_tile.h"

namespace trireme::ops::cpu {

namespace {

using namespace attention_tiles;

class PagedForward {
 public:
  PagedForward(int num_threads, const PagedShape& s, const PagedRows& rows, const Columns& q,
               const KeyValueBlocks& blocks, const Tensor& out)
      : s_(s),
        rows_(rows),
        q_(q),
        blocks_(blocks),
        out_(out),
        group_(s.num_heads / s.num_kv_heads),
        division_(num_threads, s, rows),
        tasks_(division_.tasks()) {}

  int64_t num_tasks() const { return std::ssize(tasks_); }
  bool is_uneven() const { return division_.is_uneven(); }
  int64_t scratch_floats() const {
    int64_t most = 0;
    for (const PagedTask& t : tasks_) {
      most =
          std::max(most, t.heads * attention_tile_floats(t.count, division_.seen_by(t).size(), s_.head_dim));
    }
    return most;
  }

  // A task on its own.
  void run(int64_t number, float* memory) const {
    with_stored_type([&]<class T>(T) {
      Attending<T> a = begin<T>(tasks_[static_cast<size_t>(number)], memory);
      const KeyRange keys = division_.seen_by(a.task);
      score(a, keys);
      for (int64_t i = 0; i < a.task.heads; ++i) weigh(a, i);
      for_each_piece(keys, [&](const KeyRange& piece) {
        for (int64_t i = 0; i < a.task.heads; ++i) add_values(a, i, piece, 0, s_.head_dim);
      });
      for (int64_t i = 0; i < a.task.heads; ++i) write(a, i);
    });
  }

  // All tasks at once: threads share scores by places and outputs by columns, which changes no bit.
  void run_divided(Context& ctx) const {
    const Tensor memory =
        Tensor::empty(ctx, {num_tasks(), scratch_floats()}, DType::f32, MemoryCategory::buffers);
    with_stored_type([&]<class T>(T) {
      std::vector<Attending<T>> all;
      for (const PagedTask& t : tasks_) {
        all.push_back(begin<T>(t, memory.data<float>() + std::ssize(all) * memory.dim(1)));
      }
      divide(ctx, all);
    });
  }

 private:
  // Row of the batch and first column of query i of a task.
  std::pair<int64_t, int64_t> place_of(const PagedTask& t, int64_t kv_head, int64_t i) const {
    const int64_t query = t.first + i;
    return {rows_.starts[static_cast<size_t>(t.sequence)] + query / group_,
            (kv_head * group_ + query % group_) * s_.head_dim};
  }

  void load_queries(const PagedTask& t, int64_t kv_head, QueryTile& tile) const {
    tile.begin(t.count);
    with_compute_type(q_.dtype(), [&]<class T>(T) {
      for (int64_t i = 0; i < t.count; ++i) {
        const auto [row, column] = place_of(t, kv_head, i);
        convert_range(q_.row<T>(row) + column, tile.query(i), s_.head_dim);
        attention_rows::multiply(tile.query(i), s_.head_dim, s_.scale);
        division_.see(t, i, tile);
      }
    });
  }

  // Groups of tokens of a head that a task sees, by place: of the table nothing else is read.
  struct SeenGroups {
    int64_t place;                 // of the first one's first token
    std::vector<int64_t> numbers;  // among all groups of the cache: those of a block of a head lie together
  };
  SeenGroups groups_of(const PagedTask& t, int64_t kv_head) const {
    const auto* table = rows_.block_tables.data<int32_t>() + t.sequence * rows_.block_tables.dim(1);
    SeenGroups seen{division_.seen_by(t).begin / kTokenGroup * kTokenGroup, {}};
    for (const int64_t place : division_.groups_of(t)) {
      const int64_t block = table[place / blocks_.block_tokens] * s_.num_kv_heads + kv_head;
      seen.numbers.push_back((block * blocks_.block_tokens + place % blocks_.block_tokens) / kTokenGroup);
    }
    return seen;
  }

  // Where they begin; those of a block are `distance` apart.
  template <class T>
  std::vector<const T*> begins_of(const SeenGroups& seen, const Tensor& all, int64_t distance) const {
    const auto* begin = static_cast<const T*>(all.raw());
    const int64_t in_block = blocks_.block_tokens / kTokenGroup;
    std::vector<const T*> begins;
    for (const int64_t number : seen.numbers) {
      begins.push_back(begin + number / in_block * blocks_.block_tokens * s_.head_dim +
                       number % in_block * distance);
    }
    return begins;
  }

  // What a task has for each of its heads.
  template <class T>
  struct Attending {
    PagedTask task;
    std::vector<QueryTile> tiles;
    std::vector<SeenGroups> seen;
    std::vector<std::vector<const T*>> keys, values;
  };

  template <class Body>
  void with_stored_type(Body&& body) const {
    if (blocks_.keys.dtype() == DType::u8) return body(int8_t{});
    with_compute_type(blocks_.keys.dtype(), body);
  }

  template <class T>
  Attending<T> begin(const PagedTask& t, float* memory) const {
    Attending<T> a{t, {}, {}, {}, {}};
    Scratch scratch(memory);
    for (int64_t i = 0; i < t.heads; ++i) {
      a.tiles.emplace_back(t.count, s_.head_dim, division_.seen_by(t).size(), scratch);
      load_queries(t, t.head + i, a.tiles.back());
      a.seen.push_back(groups_of(t, t.head + i));
      a.keys.push_back(begins_of<T>(a.seen.back(), blocks_.keys, kTokenGroup));
      a.values.push_back(begins_of<T>(a.seen.back(), blocks_.values, kTokenGroup * s_.head_dim));
    }
    return a;
  }

  template <class T>
  void score(const Attending<T>& a, const KeyRange& within) const {
    for_each_piece(within, [&](const KeyRange& piece) {
      for (size_t i = 0; i < a.tiles.size(); ++i) {
        const TokenGroups<T> groups{a.keys[i].data(), std::ssize(a.keys[i]), blocks_.block_tokens};
        a.tiles[i].score(groups, a.seen[i].place, piece);
      }
    });
  }

  template <class T>
  void weigh(Attending<T>& a, int64_t head) const {
    const auto i = static_cast<size_t>(head);
    if (blocks_.key_scales) scale(a.seen[i], blocks_.key_scales, a.tiles[i]);
    for (int64_t query = 0; query < a.task.count; ++query) a.tiles[i].weigh(query, s_.soft_cap);
    if (blocks_.value_scales) scale(a.seen[i], blocks_.value_scales, a.tiles[i]);
  }

  template <class T>
  void add_values(const Attending<T>& a, int64_t head, const KeyRange& within, int64_t first,
                  int64_t columns) const {
    const auto i = static_cast<size_t>(head);
    std::vector<const T*> groups;
    const T* const* begin = a.values[i].data();
    if (first > 0) {
      for (const T* group : a.values[i]) groups.push_back(group + first);
      begin = groups.data();
    }
    a.tiles[i].add_values(TokenGroups<T>{begin, std::ssize(a.values[i]), s_.head_dim}, a.seen[i].place,
                          within, first, columns);
  }

  template <class T>
  void write(const Attending<T>& a, int64_t head) const {
    const QueryTile& tile = a.tiles[static_cast<size_t>(head)];
    with_compute_type(out_.dtype(), [&]<class U>(U) {
      for (int64_t i = 0; i < a.task.count; ++i) {
        const auto [row, column] = place_of(a.task, a.task.head + head, i);
        convert_range(tile.finish(i), out_.data<U>() + row * out_.dim(1) + column, s_.head_dim);
      }
    });
  }

  template <class T>
  void divide(Context& ctx, std::vector<Attending<T>>& all) const {
    struct Share {
      Attending<T>* of;
      int64_t head, begin, end;
    };
    std::vector<Share> places, heads, columns;
    const int64_t threads = ctx.num_threads();
    for (Attending<T>& a : all) {
      const KeyRange keys = division_.seen_by(a.task);
      const int64_t piece = piece_tokens(), share = (keys.size() / (4 * threads) / piece + 1) * piece;
      for (int64_t i = keys.begin / piece * piece; i < keys.end; i += share) {
        places.push_back({&a, 0, i, i + share});
      }
      const int64_t width = (s_.head_dim / (2 * threads) / kTokenGroup + 1) * kTokenGroup;
      for (int64_t h = 0; h < a.task.heads; ++h) {
        heads.push_back({&a, h, 0, 0});
        for (int64_t i = 0; i < s_.head_dim; i += width) {
          columns.push_back({&a, h, i, std::min(s_.head_dim, i + width)});
        }
      }
    }
    const auto share = [&](const std::vector<Share>& shares, auto&& body) {
      run_in_team(ctx.num_threads(), std::ssize(shares),
                  [&](int64_t i, int64_t) { body(shares[static_cast<size_t>(i)]); });
    };
    share(places, [&](const Share& x) { score(*x.of, {x.begin, x.end}); });
    share(heads, [&](const Share& x) { weigh(*x.of, x.head); });
    share(columns, [&](const Share& x) {
      add_values(*x.of, x.head, division_.seen_by(x.of->task), x.begin, x.end - x.begin);
    });
    share(heads, [&](const Share& x) { write(*x.of, x.head); });
  }

  // Calls body(places) for pieces that lie in whole blocks.
  template <class Body>
  void for_each_piece(const KeyRange& keys, Body&& body) const {
    const int64_t length = piece_tokens();
    for (int64_t place = keys.begin / length * length; place < keys.end; place += length) {
      body(KeyRange{place, place + length});
    }
  }
  int64_t piece_tokens() const {
    return std::max<int64_t>(blocks_.block_tokens, 64 / blocks_.block_tokens * blocks_.block_tokens);
  }
  void scale(const SeenGroups& seen, const Tensor& scales, const QueryTile& tile) const {
    for (size_t i = 0; i < seen.numbers.size(); ++i) {
      tile.scale(scales.data<float>() + seen.numbers[i] * kTokenGroup,
                 seen.place + static_cast<int64_t>(i) * kTokenGroup, kTokenGroup);
    }
  }

  const PagedShape& s_;
  const PagedRows& rows_;
  const Columns& q_;
  const KeyValueBlocks& blocks_;
  const Tensor& out_;
  int64_t group_;
  PagedDivision division_;
  const std::vector<PagedTask>& tasks_;
};

}  // namespace

void paged_attention(Context& ctx, const PagedShape& shape, const PagedRows& rows, const Columns& q,
                     const KeyValueBlocks& blocks, const Tensor& out) {
  const PagedForward forward(ctx.num_threads(), shape, rows, q, blocks, out);
  if (forward.is_uneven()) return forward.run_divided(ctx);
  run_tasks(ctx, forward.num_tasks(), forward.scratch_floats(),
            [&](int64_t t, float* scratch) { forward.run(t, scratch); });
}

}  // namespace trireme::ops::cpu
