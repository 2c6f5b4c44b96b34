#include "models/inference/first_rank.h"

namespace trireme {

Communicator& FirstRank::replicas() const {
  return parallel_.plan().in_lockstep() ? parallel_.gradients() : parallel_.experts();
}

bool FirstRank::is_this() const {
  return parallel_.pipeline().rank() == 0 && replicas().rank() == 0 && parallel_.tensor().rank() == 0;
}

// Along the pipeline, then to the replicas of each stage, then to its tensor-parallel ranks.
void FirstRank::share(Context& ctx, std::span<int32_t> values) const {
  if (values.empty()) return;
  const Tensor t = Tensor::borrow(values.data(), {static_cast<int64_t>(values.size())}, DType::i32);
  parallel_.pipeline().broadcast(ctx.host_stream(), t, 0);
  replicas().broadcast(ctx.host_stream(), t, 0);
  parallel_.tensor().broadcast(ctx.host_stream(), t, 0);
}

}  // namespace trireme
