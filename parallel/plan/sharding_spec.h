// ShardingSpec: the state of parameters, and how it is sharded (ZeRO).
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/parameter_rules.h"

namespace trireme {

/// ZeRO (Rajbhandari et al., arXiv 1910.02054). Stage 0: every rank holds everything. Stage 1: the state of
/// the optimizer is sharded: moments, and f32 master weights where the weights themselves are 16-bit. Stage
/// 2: gradients too. Stage 3: weights too, which are whole only while a layer reads them; but not vectors,
/// which in layers C wide are about one parameter in C and would cost a message each. Stages that hold copies
/// of shared weights (HolderGroups) shard them each among its own ranks, all in the same way (flat_layout).
struct ShardingSpec {
  int zero_stage = 0;
  int num_shards = 1;         ///< ranks that shard; 1 at stage 0
  int shard = 0;              ///< this rank's
  int num_expert_shards = 1;  ///< of experts, which fewer ranks hold
  int expert_shard = 0;
  int64_t bucket_bytes = int64_t{25} << 20;  ///< a bucket of gradients closes once it holds this many
  bool master = true;  ///< 16-bit weights have an f32 copy that is updated; else they are updated themselves
  /// Which optimizer updates what. Parameters that are treated alike lie in one group.
  std::vector<ParameterRule> rules = {};

  friend bool operator==(const ShardingSpec&, const ShardingSpec&) = default;
};

/// The sharding of a resolved plan, as the first rank has it. `master`, `rules`: as in ShardingSpec.
ShardingSpec sharding_of(const ParallelPlan& plan, bool master = true, std::vector<ParameterRule> rules = {});

}  // namespace trireme
