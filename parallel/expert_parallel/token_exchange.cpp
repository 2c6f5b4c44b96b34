#include "parallel/expert_parallel/token_exchange.h"

#include <algorithm>
#include <numeric>

#include "runtime/ops/host_copy.h"
#include "runtime/ops/permute.h"

namespace trireme {

namespace {

int64_t sum(std::span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> times(std::vector<int64_t> counts, int64_t width) {
  for (int64_t& count : counts) count *= width;
  return counts;
}

// For rows that arrive rank by rank, each rank's expert by expert: their places expert by expert.
std::vector<int32_t> places_by_expert(std::span<const int64_t> arriving, int64_t num_ranks,
                                      int64_t num_experts) {
  const auto count = [&](int64_t rank, int64_t e) {
    return arriving[static_cast<size_t>(rank * num_experts + e)];
  };
  std::vector<int64_t> begins(arriving.size());
  int64_t begin = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      begins[static_cast<size_t>(rank * num_experts + e)] = begin;
      begin += count(rank, e);
    }
  }
  std::vector<int32_t> places;
  for (size_t run = 0; run < arriving.size(); ++run) {
    for (int64_t i = 0; i < arriving[run]; ++i) places.push_back(static_cast<int32_t>(begins[run] + i));
  }
  return places;
}

Tensor rows_like(Context& ctx, int64_t num_rows, const Tensor& rows) {
  return Tensor::empty(ctx, {num_rows, rows.dim(1)}, rows.dtype());
}

}  // namespace

TokenExchange::TokenExchange(Context& ctx, const ExpertParallel& experts, std::span<const int64_t> counts)
    : group_(&experts.group()), num_sent_(sum(counts)) {
  const int64_t num_ranks = group_->size(), held = std::ssize(counts) / num_ranks;
  const Tensor leaving =
      ops::to_device(ctx, std::vector<int64_t>(counts.begin(), counts.end()), {std::ssize(counts)});
  const Tensor arriving = Tensor::empty(ctx, {std::ssize(counts)}, DType::i64, MemoryCategory::buffers);
  group_->all_to_all(ctx.stream(), leaving, arriving);
  const std::vector<int64_t> received = ops::to_host<int64_t>(ctx, arriving);
  counts_.assign(static_cast<size_t>(held), 0);
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    const auto of_rank = [&](std::span<const int64_t> all) {
      return all.subspan(static_cast<size_t>(rank * held), static_cast<size_t>(held));
    };
    sent_.push_back(sum(of_rank(counts)));
    received_.push_back(sum(of_rank(received)));
    for (int64_t e = 0; e < held; ++e)
      counts_[static_cast<size_t>(e)] += of_rank(received)[static_cast<size_t>(e)];
  }
  num_received_ = sum(received_);
  const std::vector<int32_t> places = places_by_expert(received, num_ranks, held);
  if (!std::ranges::is_sorted(places)) places_ = ops::to_device(ctx, places, {num_received_, 1});
}

RowsUnderWay TokenExchange::start_to_experts(Context& ctx, const Tensor& rows) const {
  const Tensor arriving = rows_like(ctx, num_received_, rows);
  return {arriving, group_->all_to_all_v_async(ctx.stream(), rows, times(sent_, rows.dim(1)), arriving,
                                               times(received_, rows.dim(1)))};
}

Tensor TokenExchange::finish_to_experts(Context& ctx, const RowsUnderWay& arriving) const {
  arriving.work->wait();
  if (!places_) return arriving.rows;
  const Tensor by_expert = rows_like(ctx, num_received_, arriving.rows);
  ops::permute_rows(ctx, arriving.rows, places_, by_expert);
  return by_expert;
}

RowsUnderWay TokenExchange::start_from_experts(Context& ctx, const Tensor& rows) const {
  Tensor leaving = rows;
  if (places_) {
    leaving = rows_like(ctx, num_received_, rows);
    ops::combine_rows(ctx, rows, places_, {}, leaving);
  }
  const Tensor arriving = rows_like(ctx, num_sent_, rows);
  return {arriving, group_->all_to_all_v_async(ctx.stream(), leaving, times(received_, rows.dim(1)), arriving,
                                               times(sent_, rows.dim(1)))};
}

Tensor TokenExchange::finish_from_experts(Context&, const RowsUnderWay& arriving) const {
  arriving.work->wait();
  return arriving.rows;
}

}  // namespace trireme
