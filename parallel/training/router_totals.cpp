#include "parallel/training/router_totals.h"

#include <algorithm>

#include "runtime/ops/host_copy.h"

namespace trireme {

RouterTotals::RouterTotals(Context& ctx, const ParallelContext& parallel, std::vector<RouterBalance*> routers)
    : parallel_(parallel), routers_(std::move(routers)) {
  Communicator& pipeline = parallel.pipeline();
  const std::vector<int64_t> own = {std::ssize(routers_),
                                    routers_.empty() ? 0 : std::ssize(routers_.front()->last_load)};
  const Tensor all = Tensor::empty(ctx, {pipeline.size(), 2}, DType::i64, MemoryCategory::buffers);
  pipeline.all_gather(ctx.stream(), ops::to_device(ctx, own, {2}), all);
  const std::vector<int64_t> sizes = ops::to_host<int64_t>(ctx, all);
  for (int rank = 0; rank < pipeline.size(); ++rank) {
    if (rank == pipeline.rank()) first_ = num_routers_;
    num_routers_ += sizes[2 * static_cast<size_t>(rank)];
    num_experts_ = std::max(num_experts_, sizes[2 * static_cast<size_t>(rank) + 1]);
  }
}

void RouterTotals::clear() {
  for (RouterBalance* router : routers_) router->clear();
}

// Row i: the layer, then the packed sums. A row is filled on the ranks of one stage, zero elsewhere.
void RouterTotals::sum(Context& ctx) {
  if (num_routers_ == 0) return;
  const auto width = static_cast<int64_t>(RouterSums::kNumScalars) + num_experts_;
  std::vector<double> sums, layers(static_cast<size_t>(num_routers_), 0.0), seconds(layers);
  sums.assign(static_cast<size_t>(num_routers_ * width), 0.0);
  for (size_t i = 0; i < routers_.size(); ++i) {
    const size_t row = static_cast<size_t>(first_) + i;
    std::ranges::copy(routers_[i]->sums.packed(), sums.begin() + static_cast<int64_t>(row) * width);
    layers[row] = static_cast<double>(routers_[i]->layer);
    seconds[row] = routers_[i]->expert_time.seconds();
  }
  const Tensor table = ops::to_device(ctx, sums, {num_routers_, width});
  const Tensor names = ops::to_device(ctx, layers, {num_routers_});
  parallel_.gradients().all_reduce(ctx.stream(), table);
  parallel_.pipeline().all_reduce(ctx.stream(), table);
  parallel_.pipeline().all_reduce(ctx.stream(), names);
  const Tensor all_seconds = ops::to_device(ctx, seconds, {num_routers_});
  const Tensor slowest = ops::to_device(ctx, seconds, {num_routers_});
  parallel_.world().all_reduce(ctx.stream(), all_seconds);
  parallel_.world().all_reduce(ctx.stream(), slowest, ReduceOp::max);
  const std::vector<double> most = ops::to_host<double>(ctx, slowest);
  const double num_ranks = parallel_.world().size() / parallel_.pipeline().size();  // of a stage
  seconds = ops::to_host<double>(ctx, all_seconds);
  sums = ops::to_host<double>(ctx, table);
  layers = ops::to_host<double>(ctx, names);
  loads_.clear();
  for (int64_t i = 0; i < num_routers_; ++i) {
    loads_.push_back({static_cast<int64_t>(layers[static_cast<size_t>(i)]),
                      RouterSums::unpack(sums.data() + i * width, static_cast<size_t>(num_experts_)),
                      seconds[static_cast<size_t>(i)] / num_ranks, most[static_cast<size_t>(i)]});
  }
  std::ranges::sort(loads_, {}, &RouterLoad::layer);
}

void RouterTotals::finish() {
  for (RouterBalance* router : routers_) {
    const auto load = std::ranges::find(loads_, router->layer, &RouterLoad::layer);
    TRIREME_CHECK(load != loads_.end(), "the routers were not summed");
    router->finish(load->sums);
  }
}

}  // namespace trireme
