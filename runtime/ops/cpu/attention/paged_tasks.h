// How paged attention's work is divided into tasks.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/cpu/attention/query_tile.h"

namespace trireme::ops::cpu {

/// Queries [first, first + count) of a sequence, one for each of its rows and, within a row, each query head
/// of a key/value head, which thus read its blocks together; of `heads` key/value heads from `head` on.
struct PagedTask {
  int64_t sequence, first, count;
  int64_t head, heads;
  std::shared_ptr<const SparseKeys> sparse = {};  ///< of the rows, under a pattern
};

/// Of one call, whose arguments outlive it.
class PagedDivision {
 public:
  using KeyRange = attention_tiles::KeyRange;

  PagedDivision(int num_threads, const PagedShape& s, const PagedRows& rows)
      : num_threads_(num_threads), s_(s), rows_(rows), group_(s.num_heads / s.num_kv_heads) {
    for (int64_t i = 0; i < rows.num_sequences(); ++i) add_tiles(i);
    split_heads();
    if (s.pattern) {
      for (PagedTask& t : tasks_) t.sparse = sparse_of(t);
    }
    // Those that see the most keys go first, lest one of them runs alone at the end.
    std::ranges::stable_sort(tasks_, std::ranges::greater(),
                             [this](const PagedTask& t) { return load_of(t); });
  }

  const std::vector<PagedTask>& tasks() const { return tasks_; }

  KeyRange seen_by(int64_t sequence, int64_t query) const {
    const int64_t end = rows_.lengths[static_cast<size_t>(sequence)] - rows_of(sequence) + query / group_ + 1;
    return {s_.window > 0 ? std::max<int64_t>(0, end - s_.window) : 0, end};
  }
  /// Where a task's keys lie: places, under a pattern those of its groups side by side.
  KeyRange seen_by(const PagedTask& t) const {
    if (t.sparse) return {0, t.sparse->num_keys()};
    return {seen_by(t.sequence, t.first).begin, seen_by(t.sequence, t.first + t.count - 1).end};
  }

  /// Tells a tile what its query i sees, the task's query first + i.
  void see(const PagedTask& t, int64_t i, QueryTile& tile) const {
    if (t.sparse)
      tile.see(i, t.sparse->row((t.first + i) / group_ - t.first / group_));
    else
      tile.see(i, seen_by(t.sequence, t.first + i));
  }
  /// The first places of the groups that a task sees.
  std::vector<int64_t> groups_of(const PagedTask& t) const {
    if (t.sparse) return t.sparse->groups();
    std::vector<int64_t> groups;
    const KeyRange keys = seen_by(t);
    for (int64_t place = keys.begin / kTokenGroup * kTokenGroup; place < keys.end; place += kTokenGroup)
      groups.push_back(place);
    return groups;
  }

  /// Whether a thread would long be alone with its tasks, which are as many as there are then.
  bool is_uneven() const {
    std::vector<int64_t> loads(static_cast<size_t>(num_threads_), 0);
    if (std::ssize(tasks_) >= 4 * num_threads_) return false;
    int64_t all = 0;
    for (const PagedTask& t : tasks_) {
      const int64_t load = load_of(t);
      *std::ranges::min_element(loads) += load;
      all += load;
    }
    constexpr int64_t kWorthDividing = 1 << 18;
    return 5 * *std::ranges::max_element(loads) * num_threads_ > 6 * all &&
           all * s_.head_dim >= kWorthDividing;
  }

 private:
  int64_t load_of(const PagedTask& t) const { return seen_by(t).size() * t.count * t.heads; }
  int64_t rows_of(int64_t sequence) const {
    const auto i = static_cast<size_t>(sequence);
    return rows_.starts[i + 1] - rows_.starts[i];
  }
  std::shared_ptr<const SparseKeys> sparse_of(const PagedTask& t) const {
    const int64_t rows = rows_of(t.sequence), length = rows_.lengths[static_cast<size_t>(t.sequence)];
    const KeyPlaces places{s_.pattern, s_.window, rows, length, length - rows};
    return std::make_shared<SparseKeys>(places, t.first / group_, (t.first + t.count - 1) / group_ + 1);
  }
  void add_tiles(int64_t sequence) {
    const int64_t queries = rows_of(sequence) * group_;
    const int64_t tiles = (queries + QueryTile::kMostRows - 1) / QueryTile::kMostRows;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t first = queries * i / tiles;
      tasks_.push_back({sequence, first, queries * (i + 1) / tiles - first, 0, s_.num_kv_heads, {}});
    }
  }

  // Heads of a block lie side by side: few queries, whose time is that of reading, go through several heads
  // together, which are longer pieces of memory. As many as keep all threads busy.
  void split_heads() {
    const auto tiles = std::ssize(tasks_);
    int64_t together = 1;
    double least = 0;
    for (int64_t heads = 1; heads <= s_.num_kv_heads; ++heads) {
      const int64_t parts = (s_.num_kv_heads + heads - 1) / heads;
      const int64_t rounds = (tiles * parts + num_threads_ - 1) / num_threads_;
      const auto time = static_cast<double>(rounds * heads);
      if (heads == 1 || time <= 1.1 * least) together = heads;
      least = heads == 1 ? time : std::min(least, time);
    }
    std::vector<PagedTask> split;
    for (const PagedTask& t : tasks_) {
      const int64_t most = std::clamp<int64_t>(QueryTile::kMostRows / t.count, 1, together);
      const int64_t parts = (s_.num_kv_heads + most - 1) / most;
      for (int64_t i = 0; i < parts; ++i) {
        const int64_t head = s_.num_kv_heads * i / parts;
        split.push_back({t.sequence, t.first, t.count, head, s_.num_kv_heads * (i + 1) / parts - head, {}});
      }
    }
    tasks_ = std::move(split);
  }

  int num_threads_;
  const PagedShape& s_;
  const PagedRows& rows_;
  int64_t group_;
  std::vector<PagedTask> tasks_;
};

}  // namespace trireme::ops::cpu
