#include "models/compress/rank_groups.h"

#include "runtime/base/error.h"

namespace trireme {

RankGroups::RankGroups(Context& ctx, const ParallelContext& parallel) : parallel_(parallel) {
  Communicator& all = world();
  std::vector<int32_t> own{parallel.pipeline().rank(), parallel.experts().rank()};
  places_.resize(2 * static_cast<size_t>(all.size()));
  all.all_gather(ctx.host_stream(), Tensor::borrow(own.data(), {2}, DType::i32),
                 Tensor::borrow(places_.data(), {2 * all.size()}, DType::i32));
  stage_ = all.split(own[0], all.rank(), "compress-stage");
  same_experts_ = stage_->split(own[1], stage_->rank(), "compress-experts");
}

int RankGroups::leader(int pipeline, int expert, int64_t num_experts) const {
  const int64_t held = expert < 0 ? 1 : num_experts / parallel_.experts().size();
  for (int rank = 0; rank < world().size(); ++rank) {
    const auto at = 2 * static_cast<size_t>(rank);
    if (places_[at] == pipeline && (expert < 0 || places_[at + 1] == expert / held)) return rank;
  }
  TRIREME_CHECK(false, "nobody holds expert {} of pipeline rank {}", expert, pipeline);
}

}  // namespace trireme
