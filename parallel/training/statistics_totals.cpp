#include "parallel/training/statistics_totals.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

constexpr int64_t kAbout = 3;  // numbers about a row: kind, layer, how many it counts

}  // namespace

StatisticsTotals::StatisticsTotals(Context& ctx, const ParallelContext& parallel,
                                   std::vector<LayerStatistics*> own)
    : parallel_(parallel), own_(std::move(own)) {
  Communicator& pipeline = parallel.pipeline();
  std::vector<int64_t> sizes = {std::ssize(own_), 0};
  for (const LayerStatistics* s : own_) sizes[1] = std::max<int64_t>(sizes[1], std::ssize(s->counted()));
  const Tensor all = Tensor::empty(ctx, {pipeline.size(), 2}, DType::i64, MemoryCategory::buffers);
  pipeline.all_gather(ctx.stream(), ops::to_device(ctx, sizes, {2}), all);
  sizes = ops::to_host<int64_t>(ctx, all);
  for (int rank = 0; rank < pipeline.size(); ++rank) {
    if (rank == pipeline.rank()) first_ = num_rows_;
    num_rows_ += sizes[2 * static_cast<size_t>(rank)];
    width_ = std::max(width_, sizes[2 * static_cast<size_t>(rank) + 1]);
  }
}

void StatisticsTotals::clear() {
  for (LayerStatistics* s : own_) s->clear();
}

// A row is filled on the ranks of one stage, zero elsewhere.
void StatisticsTotals::sum(Context& ctx) {
  if (num_rows_ == 0) return;
  const auto num_rows = static_cast<size_t>(num_rows_), width = static_cast<size_t>(width_);
  std::vector<double> counts(num_rows * width, 0.0), about(num_rows * kAbout, 0.0), seconds(num_rows, 0.0);
  for (size_t i = 0; i < own_.size(); ++i) {
    const size_t row = static_cast<size_t>(first_) + i;
    const std::vector<double> counted = own_[i]->counted();
    std::ranges::copy(counted, counts.begin() + static_cast<int64_t>(row * width));
    about[row * kAbout] = static_cast<double>(own_[i]->kind);
    about[row * kAbout + 1] = static_cast<double>(own_[i]->layer);
    about[row * kAbout + 2] = static_cast<double>(counted.size());
    seconds[row] = own_[i]->seconds();
  }
  const Tensor table = ops::to_device(ctx, counts, {num_rows_, width_});
  const Tensor names = ops::to_device(ctx, about, {num_rows_, kAbout});
  parallel_.gradients().all_reduce(ctx.stream(), table);
  parallel_.pipeline().all_reduce(ctx.stream(), table);
  parallel_.pipeline().all_reduce(ctx.stream(), names);
  const Tensor all_seconds = ops::to_device(ctx, seconds, {num_rows_});
  const Tensor slowest = ops::to_device(ctx, seconds, {num_rows_});
  parallel_.world().all_reduce(ctx.stream(), all_seconds);
  parallel_.world().all_reduce(ctx.stream(), slowest, ReduceOp::max);
  const std::vector<double> most = ops::to_host<double>(ctx, slowest);
  const double num_ranks = parallel_.world().size() / parallel_.pipeline().size();  // of a stage
  seconds = ops::to_host<double>(ctx, all_seconds);
  counts = ops::to_host<double>(ctx, table);
  about = ops::to_host<double>(ctx, names);
  rows_.clear();
  for (size_t row = 0; row < num_rows; ++row) {
    const double* of_row = &about[row * kAbout];
    const auto begin = counts.begin() + static_cast<int64_t>(row * width);
    rows_.push_back({static_cast<StatisticsKind>(of_row[0]),
                     static_cast<int64_t>(of_row[1]),
                     {begin, begin + static_cast<int64_t>(of_row[2])},
                     seconds[row] / num_ranks,
                     most[row]});
  }
  sorted_ = rows_;
  std::ranges::stable_sort(sorted_, {}, &LayerTotals::layer);
}

void StatisticsTotals::finish() {
  TRIREME_CHECK(own_.empty() || !rows_.empty(), "the layers' counts were not summed");
  for (size_t i = 0; i < own_.size(); ++i) own_[i]->finish(rows_[static_cast<size_t>(first_) + i].counts);
}

}  // namespace trireme
