#include "parallel/pipeline/shared_gradients.h"

#include <algorithm>
#include <tuple>

#include "runtime/base/error.h"

namespace trireme {

SharedGradients::SharedGradients(Communicator& pipeline, const ModelPart& part)
    : groups_(pipeline, part.holders) {
  for (const Stage& stage : part.chunks) {
    for (size_t layer = 0; layer < stage.num_layers(); ++layer) {
      for (const ParameterBlock* block : stage.blocks_of(layer)) ++num_users_[block];
    }
  }
  for (ParameterBlock* block : part.blocks()) {
    if (block->holders != 0) held_.push_back(block);
  }
  for (const ParameterGroup& group : part.storage->groups()) {
    if (group.settings.frozen) continue;  // no gradient
    for (size_t i = 0; i < group.places.size(); ++i) {
      const auto& place = group.places[i];
      const bool is_first = i == 0 || group.places[i - 1].bucket != place.bucket;
      if (place.block->holders == 0 || !is_first) continue;
      buckets_.push_back(
          {place.block->members.front().name, &group.buckets[place.bucket], place.block->holders});
    }
  }
  // Ranks have their layers, and so their buckets, in different orders.
  std::ranges::sort(buckets_, {}, [](const Bucket& b) { return std::tie(b.holders, b.name); });
}

void SharedGradients::begin() { left_ = num_users_; }

std::vector<ParameterBlock*> SharedGradients::complete(std::span<ParameterBlock* const> blocks) {
  std::vector<ParameterBlock*> done;
  for (ParameterBlock* block : blocks) {
    int& left = left_.at(block);
    TRIREME_CHECK(left > 0, "{} got gradients of more layers than use it", block->members.front().name);
    if (--left == 0) done.push_back(block);
  }
  return done;
}

void SharedGradients::sum(Context& ctx) {
  for (const Bucket& bucket : buckets_)
    groups_.group(bucket.holders).all_reduce(ctx.stream(), bucket.range->gradients);
}

}  // namespace trireme
