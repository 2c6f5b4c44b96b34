#include "parallel/plan/sharding_spec.h"

#include <utility>

namespace trireme {

ShardingSpec sharding_of(const ParallelPlan& plan, bool master, std::vector<ParameterRule> rules) {
  ShardingSpec sharding{.zero_stage = plan.zero_stage,
                        .bucket_bytes = plan.bucket_bytes(),
                        .master = master,
                        .rules = std::move(rules)};
  if (plan.zero_stage > 0) {
    sharding.num_shards = plan.shard_ranks();
    sharding.num_expert_shards = plan.expert_shard_ranks();
  }
  return sharding;
}

}  // namespace trireme
