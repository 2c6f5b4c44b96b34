// How rows of a flat batch become tiles and splits, and how splits become one.
#include <algorithm>
#include <cstring>

#include "runtime/ops/cuda/attention/paged.cuh"
#include "runtime/ops/host_copy.h"

namespace trireme::ops::cuda {

namespace {

/// About two blocks for each multiprocessor of the largest devices: fewer tiles are divided into splits.
constexpr int64_t kEnoughBlocks = 264;
constexpr size_t kWordsATask = sizeof(PagedTask) / sizeof(int32_t);

__global__ void merge_kernel(PagedKernel p, const PagedTask* tasks, int tile_rows) {
  const PagedTile tile(p, tasks[blockIdx.x], blockIdx.y, tile_rows);
  for (int64_t i = threadIdx.x; i < tile.rows * p.head_dim; i += blockDim.x) {
    const auto row = static_cast<int>(i / p.head_dim);
    const int64_t column = i % p.head_dim;
    SoftmaxStats all;
    float sum = 0;
    for (int s = 0; s < tile.task.splits; ++s) {
      const int64_t scratch = tile.scratch_row(p, tile.task.slot + s, row, tile_rows);
      const SplitMerge merge(all, {p.stats[2 * scratch], p.stats[2 * scratch + 1]});
      sum = merge(sum, p.sums[scratch * p.head_dim + column]);
    }
    store_out(p, tile.out_index(p, row) + column, sum * (1 / all.total));
  }
}

/// Of which queries at places [first, last] see some key.
void splits_that_are_seen(const PagedKernel& p, int64_t first, int64_t last, std::vector<int32_t>& splits) {
  splits.clear();
  int64_t key = p.window > 0 ? std::max<int64_t>(0, first - p.window + 1) : 0;
  while (key <= last) {
    if (p.is_sparse) key = next_seen(p.pattern, p.sparse_window, first, last, key);
    if (key > last) return;
    splits.push_back(static_cast<int32_t>(key / kSplitKeys));
    key = (key / kSplitKeys + 1) * kSplitKeys;
  }
}

}  // namespace

PagedTasks paged_tasks(const PagedRows& rows, const PagedKernel& p, int tile_rows, int64_t least,
                       int64_t most) {
  PagedTasks tasks;
  tasks.tile_rows = tile_rows;
  std::vector<PagedTask> tiles;
  for (size_t s = 0; s < rows.lengths.size(); ++s) {
    const int32_t tokens = rows.starts[s + 1] - rows.starts[s];
    const int64_t of_sequence = tokens * p.group;
    if (of_sequence <= least || of_sequence > most) continue;
    for (int64_t first = 0; first < of_sequence; first += tile_rows) {
      tiles.push_back({static_cast<int32_t>(s), rows.starts[s], tokens, rows.lengths[s],
                       static_cast<int32_t>(first), -1, 0, 0});
    }
  }
  std::vector<int32_t> splits;
  const bool is_enough = std::ssize(tiles) * p.kv_heads >= kEnoughBlocks;
  for (PagedTask& task : tiles) {
    const int64_t before = task.length - task.tokens,
                  last_row = std::min(task.first + int64_t{tile_rows}, int64_t{task.tokens} * p.group) - 1;
    const int64_t first_place = before + task.first / p.group, last_place = before + last_row / p.group;
    splits_that_are_seen(p, first_place, last_place, splits);
    if (is_enough || splits.size() == 1) {
      tasks.all.push_back(task);
      continue;
    }
    task.slot = tasks.slots;
    task.splits = static_cast<int32_t>(splits.size());
    tasks.merged.push_back(task);
    for (const int32_t split : splits) {
      task.split = split;
      task.slot = tasks.slots++;
      tasks.all.push_back(task);
    }
  }
  return tasks;
}

PagedLaunch::PagedLaunch(Context& ctx, PagedKernel& p, const PagedTasks& tasks)
    : num_tasks_(static_cast<unsigned>(tasks.all.size())),
      num_merged_(static_cast<unsigned>(tasks.merged.size())),
      tile_rows_(tasks.tile_rows) {
  std::vector<PagedTask> both = tasks.all;
  both.insert(both.end(), tasks.merged.begin(), tasks.merged.end());
  std::vector<int32_t> words(both.size() * kWordsATask);
  std::memcpy(words.data(), both.data(), words.size() * sizeof(int32_t));
  tasks_ = to_device(ctx, words, {static_cast<int64_t>(words.size())});
  if (tasks.slots == 0) return;
  const int64_t rows = tasks.slots * p.kv_heads * tasks.tile_rows;
  sums_ = Tensor::empty(ctx, {rows, p.head_dim}, DType::f32, MemoryCategory::buffers);
  stats_ = Tensor::empty(ctx, {rows, 2}, DType::f32, MemoryCategory::buffers);
  p.sums = sums_.data<float>();
  p.stats = stats_.data<float>();
}

void PagedLaunch::merge(Context& ctx, const PagedKernel& p) const {
  constexpr int kThreads = 128;
  launch(ctx, merge_kernel, dim3(num_merged_, static_cast<unsigned>(p.kv_heads)), kThreads, 0, p,
         tasks() + num_tasks_, tile_rows_);
}

}  // namespace trireme::ops::cuda
