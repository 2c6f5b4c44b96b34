// What the kernels of paged attention share. Keys of a sequence fall into splits of kSplitKeys places. A
// row's sums over each split, in the order of keys, are put together in the order of splits: the same
// arithmetic whether blocks of threads share the splits of a row and a second kernel puts them together, or
// one goes through them all (flash-decoding). So a row's bits depend on its query and its keys alone.
#pragma once

#include <vector>

#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

inline constexpr int kSplitKeys = 256;

/// Rows of queries are numbered within a sequence and key head: heads of the group side by side, then tokens.
struct PagedTask {
  int32_t table_row;  ///< row of the block tables
  int32_t batch_row;  ///< of the sequence's first token in q and out
  int32_t tokens;     ///< rows of the sequence
  int32_t length;     ///< places up to and with the last of them
  int32_t first;      ///< row of queries with which the tile begins
  int32_t split;      ///< the only split to look at; -1: all, and the result is stored
  int32_t slot;       ///< of the split's sums in scratch memory; in tasks to merge: of the first
  int32_t splits;     ///< to merge
};

/// How numbers of a cache are stored.
enum class StoredType : int { f32, bf16, f16, int8 };

struct PagedKernel {
  const void *q, *keys, *values;
  const float *key_scales, *value_scales;  // of int8
  void* out;
  const int32_t* tables;
  float* sums;   // [slot][key head][tile rows][head_dim]
  float* stats;  // [slot][key head][tile rows][max, total]
  int64_t q_stride, table_width, num_heads, kv_heads, head_dim, window;
  int group;              // heads of queries to one of keys
  unsigned block_tokens;  // 32 bits: every place is divided by it
  float scale, soft_cap;
  StoredType type, stored;  // of q and out; of the cache
  bool is_sparse;           // under a pattern, which has the window to itself
  int64_t sparse_window;
  KeyPattern pattern;
};

__device__ inline float minus_infinity_of_scores() { return __uint_as_float(0xff800000u); }

/// Elements of one head's row at one place: `index` counts elements.
__device__ inline void load_stored(StoredType type, const void* data, int64_t index, int count, float scale,
                                   float (&x)[kPack]) {
  switch (type) {
    case StoredType::f32:
      return load(static_cast<const float*>(data) + index, count, x);
    case StoredType::bf16:
      return load(static_cast<const bf16*>(data) + index, count, x);
    case StoredType::f16:
      return load(static_cast<const fp16*>(data) + index, count, x);
    case StoredType::int8: {
      const auto* codes = static_cast<const int8_t*>(data) + index;
      struct alignas(8) Eight {
        int8_t at[kPack];
      };
      Eight eight = {};
      if (count == kPack && reinterpret_cast<uintptr_t>(codes) % 8 == 0) {
        eight = *reinterpret_cast<const Eight*>(codes);
      } else {
        for (int i = 0; i < count; ++i) eight.at[i] = codes[i];
      }
#pragma unroll
      for (int i = 0; i < kPack; ++i) x[i] = static_cast<float>(eight.at[i]) * scale;
    }
  }
}

/// The tile's task with what follows from it.
struct PagedTile {
  PagedTask task;
  int64_t kv_head;
  int rows;            // of queries that there are
  int64_t begin, end;  // places that any of them sees, but for a pattern

  __device__ PagedTile(const PagedKernel& p, const PagedTask& t, int64_t head, int tile_rows)
      : task(t), kv_head(head) {
    const int64_t left = task.tokens * p.group - task.first;
    rows = static_cast<int>(left < tile_rows ? left : tile_rows);
    begin = first_key(p, place(p, 0));
    end = place(p, rows - 1) + 1;
  }
  __device__ int token(const PagedKernel& p, int row) const { return (task.first + row) / p.group; }
  __device__ int64_t head(const PagedKernel& p, int row) const {
    return kv_head * p.group + (task.first + row) % p.group;
  }
  __device__ int64_t place(const PagedKernel& p, int row) const {
    return task.length - task.tokens + token(p, row);
  }
  __device__ static int64_t first_key(const PagedKernel& p, int64_t place) {
    const int64_t first = p.window > 0 ? place - p.window + 1 : 0;
    return first < 0 ? 0 : first;
  }
  /// Index of the first element of a row of q and out.
  __device__ int64_t q_index(const PagedKernel& p, int row) const {
    return (task.batch_row + token(p, row)) * p.q_stride + head(p, row) * p.head_dim;
  }
  __device__ int64_t out_index(const PagedKernel& p, int row) const {
    return ((task.batch_row + token(p, row)) * p.num_heads + head(p, row)) * p.head_dim;
  }
  /// Whether a row sees the key at a place.
  __device__ static bool sees(const PagedKernel& p, int64_t place, int64_t key) {
    if (key > place || key < first_key(p, place)) return false;
    return !p.is_sparse || ops::sees(p.pattern, p.sparse_window, place, key);
  }
  /// The first of `width` places, a multiple of it from `from` on, at which a row sees something, within
  /// [begin, end); `end`: there is none.
  __device__ int64_t next_keys(const PagedKernel& p, int64_t from, int64_t to, int width) const {
    from = from < begin ? begin : from;
    if (p.is_sparse && from < to)
      from = next_seen(p.pattern, p.sparse_window, place(p, 0), place(p, rows - 1), from);
    return from < to ? from / width * width : to;
  }
  /// Number of a place among all of the cache: times head_dim the index of its first element. Below 0: the
  /// place has no block, for nobody sees it.
  __device__ int64_t cache_row(const PagedKernel& p, int64_t place) const {
    const auto at = static_cast<unsigned>(place);
    const int64_t block = p.tables[task.table_row * p.table_width + at / p.block_tokens];
    return (block * p.kv_heads + kv_head) * p.block_tokens + at % p.block_tokens;
  }
  /// Row of the scratch memory for sums and stats.
  __device__ int64_t scratch_row(const PagedKernel& p, int64_t slot, int row, int tile_rows) const {
    return (slot * p.kv_heads + kv_head) * tile_rows + row;
  }
};

/// Places of the keys that a task goes through, Width at a time, each at a multiple of it.
template <int Width>
struct PagedRange {
  int64_t begin, end;

  __device__ PagedRange(const PagedKernel& p, const PagedTile& tile) : begin(0), end(tile.end) {
    if (tile.task.split >= 0) {
      begin = int64_t{tile.task.split} * kSplitKeys;
      end = end < begin + kSplitKeys ? end : begin + kSplitKeys;
    }
    begin = tile.next_keys(p, begin, end, Width);
  }
  __device__ int64_t next(const PagedKernel& p, const PagedTile& tile, int64_t at) const {
    return tile.next_keys(p, at + Width, end, Width);
  }
  /// Whether the tile from `at` on, with `next` behind it, is the last of its split.
  __device__ bool ends_split(int64_t at, int64_t next) const {
    return next >= end || next / kSplitKeys != at / kSplitKeys;
  }
};

/// Softmax over some keys, in powers of two: the largest exponent, and the sum of powers less that.
struct SoftmaxStats {
  float max = minus_infinity_of_scores(), total = 0;
};

/// How sums over keys so far and those over the next split become one: total' = before * total + next * of
/// it; nothing changes where the split has no visible key.
struct SplitMerge {
  float before = 1, next = 0;

  __device__ SplitMerge(SoftmaxStats& all, const SoftmaxStats& split) {
    if (split.total == 0) return;
    const float max = fmaxf(all.max, split.max);
    before = exp2f(all.max - max);
    next = exp2f(split.max - max);
    all.total = fmaf(split.total, next, all.total * before);
    all.max = max;
  }
  __device__ float operator()(float all, float split) const { return fmaf(split, next, all * before); }
};

/// One number of `out`.
__device__ inline void store_out(const PagedKernel& p, int64_t index, float x) {
  switch (p.type) {
    case StoredType::f32:
      return narrow(x, static_cast<float*>(p.out)[index]);
    case StoredType::bf16:
      return narrow(x, static_cast<bf16*>(p.out)[index]);
    default:
      return narrow(x, static_cast<fp16*>(p.out)[index]);
  }
}

/// Products of queries and keys as exponents of two.
__device__ inline float exponent_of(const PagedKernel& p, float product) {
  constexpr float kLog2OfE = 1.44269504f;
  const float score = product * p.scale;
  return (p.soft_cap > 0 ? p.soft_cap * tanhf(score / p.soft_cap) : score) * kLog2OfE;
}

/// Tasks of launches of tiles of `tile_rows` rows.
struct PagedTasks {
  int tile_rows = 0;
  std::vector<PagedTask> all, merged;
  int32_t slots = 0;
};

/// Those of sequences with more than `least` and at most `most` rows of queries a key head. Splits are shared
/// out where there are too few tiles to keep a device busy.
PagedTasks paged_tasks(const PagedRows& rows, const PagedKernel& p, int tile_rows, int64_t least,
                       int64_t most);

/// Tensors for a launch; they live until it is submitted.
class PagedLaunch {
 public:
  PagedLaunch(Context& ctx, PagedKernel& p, const PagedTasks& tasks);
  const PagedTask* tasks() const { return reinterpret_cast<const PagedTask*>(tasks_.data<int32_t>()); }
  unsigned num_tasks() const { return num_tasks_; }
  /// Puts splits that were shared out together.
  void merge(Context& ctx, const PagedKernel& p) const;

 private:
  Tensor tasks_, sums_, stats_;
  unsigned num_tasks_, num_merged_;
  int tile_rows_;
};

/// Kernels on tensor cores: queries of bf16 and fp16, heads of 64 and 128. False where they do not serve the
/// case, which depends on types and sizes of heads alone.
bool paged_attention_on_tensor_cores(Context& ctx, const PagedKernel& p, const PagedRows& rows);

}  // namespace trireme::ops::cuda
