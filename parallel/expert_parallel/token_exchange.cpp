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
std::vector<int32_t> places_by_expert(std::span<const std::span<const int64_t>> of_ranks) {
  std::vector<std::vector<int64_t>> begins(of_ranks.size());
  int64_t begin = 0;
  for (size_t e = 0; e < of_ranks.front().size(); ++e) {
    for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
      begins[rank].push_back(begin);
      begin += of_ranks[rank][e];
    }
  }
  std::vector<int32_t> places;
  for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
    for (size_t e = 0; e < of_ranks[rank].size(); ++e) {
      for (int64_t i = 0; i < of_ranks[rank][e]; ++i)
        places.push_back(static_cast<int32_t>(begins[rank][e] + i));
    }
  }
  return places;
}

Tensor slice(const Tensor& rows, const Part& part) { return rows.slice(part.begin, part.end); }

}  // namespace

TokenExchange::TokenExchange(Context& ctx, const ExpertParallel& experts, std::span<const int64_t> counts)
    : group_(&experts.group()) {
  const int64_t num_ranks = group_->size(), held = std::ssize(counts) / num_ranks;
  const Tensor leaving =
      ops::to_device(ctx, std::vector<int64_t>(counts.begin(), counts.end()), {std::ssize(counts)});
  const Tensor arriving = Tensor::empty(ctx, {std::ssize(counts)}, DType::i64, MemoryCategory::buffers);
  group_->all_to_all(ctx.stream(), leaving, arriving);
  const std::vector<int64_t> received = ops::to_host<int64_t>(ctx, arriving);
  counts_.assign(static_cast<size_t>(held), 0);
  for (size_t i = 0; i < received.size(); ++i) counts_[i % counts_.size()] += received[i];
  Chunk before;
  for (int index = 0; index < experts.num_chunks(); ++index) {
    Chunk& chunk = chunks_.emplace_back();
    chunk.experts = experts.chunk(held, index);
    std::vector<std::span<const int64_t>> of_ranks;
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      const auto of_rank = [&](std::span<const int64_t> all) {
        return all.subspan(static_cast<size_t>(rank * held + chunk.experts.begin),
                           static_cast<size_t>(chunk.experts.size()));
      };
      chunk.sent.push_back(sum(of_rank(counts)));
      of_ranks.push_back(of_rank(received));
      chunk.received.push_back(sum(of_ranks.back()));
    }
    chunk.here = {before.here.end, before.here.end + sum(chunk.sent)};
    chunk.there = {before.there.end, before.there.end + sum(chunk.received)};
    const std::vector<int32_t> places = places_by_expert(of_ranks);
    if (!std::ranges::is_sorted(places)) chunk.places = ops::to_device(ctx, places, {std::ssize(places), 1});
    before = chunk;
  }
}

RowsInFlight TokenExchange::start_to_experts(Context& ctx, int index, const Tensor& here,
                                             const Tensor& there) const {
  const Chunk& chunk = at(index);
  const int64_t width = here.dim(1);
  const Tensor arriving = chunk.places ? Tensor::empty(ctx, {chunk.there.size(), width}, here.dtype())
                                       : slice(there, chunk.there);
  return {arriving,
          group_->all_to_all_v_async(ctx.stream(), slice(here, chunk.here), times(chunk.sent, width),
                                     arriving, times(chunk.received, width))};
}

void TokenExchange::finish_to_experts(Context& ctx, int index, const RowsInFlight& arriving,
                                      const Tensor& there) const {
  const Chunk& chunk = at(index);
  arriving.work->wait();
  if (chunk.places) ops::permute_rows(ctx, arriving.rows, chunk.places, slice(there, chunk.there));
}

WorkPtr TokenExchange::start_from_experts(Context& ctx, int index, const Tensor& there,
                                          const Tensor& here) const {
  const Chunk& chunk = at(index);
  const int64_t width = there.dim(1);
  Tensor leaving = slice(there, chunk.there);
  if (chunk.places) {
    leaving = Tensor::empty(ctx, leaving.shape(), there.dtype());
    ops::combine_rows(ctx, slice(there, chunk.there), chunk.places, {}, leaving);
  }
  return group_->all_to_all_v_async(ctx.stream(), leaving, times(chunk.received, width),
                                    slice(here, chunk.here), times(chunk.sent, width));
}

}  // namespace trireme
