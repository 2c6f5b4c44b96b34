#include "parallel/plan/parallel_context.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {

namespace {

using Axes = std::vector<std::vector<std::string>>;

// Groups of several axes: the ranks that sum gradients, and where experts have a mesh of their own the
// stage's.
Axes groups_of(const ParallelPlan& plan) {
  Axes groups = {{"data", "context"}};
  if (plan.expert > 1 || plan.expert_row_shards() > 1) groups.push_back({"data", "context", "tensor"});
  return groups;
}

}  // namespace

ParallelContext::ParallelContext(Communicator& world, const ParallelPlan& plan)
    : plan_(plan),
      groups_(world,
              ProcessMesh({{"pipeline", plan.pipeline},
                           {"data", plan.data},
                           {"context", plan.context},
                           {"tensor", plan.tensor}},
                          world.size()),
              groups_of(plan)),
      tensor_(groups_.axis("tensor")),
      context_(groups_.axis("context")),
      data_(groups_.axis("data")),
      pipeline_(groups_.axis("pipeline")),
      gradients_(groups_.group({"data", "context"})),
      of_dense_(gradients_, plan.shard_ranks()) {
  make_expert_groups(world);
  if (world.call_check() == CallCheck::backend) return;
  // The ranks of a stage run the same layers, so that their calls come from the same places.
  for (Communicator* group : groups()) {
    if (group != &pipeline_ && group != &world) group->set_call_check(CallCheck::site);
  }
}

void ParallelContext::make_expert_groups(Communicator& world) {
  const ParallelPlan& plan = plan_;
  const auto alone = [&](const char* name) {
    return make_self_communicator(
        name, [&world](std::string_view reason, ExitCode code) { world.abort(reason, code); });
  };
  const int num_experts = plan.expert, width = plan.expert_tensor_ranks(), block = num_experts * width;
  if (num_experts == 1) experts_ = alone("experts");
  if (num_experts == 1 && width == plan.tensor) return;
  Communicator& stage = groups_.group({"data", "context", "tensor"});
  TRIREME_CHECK(num_experts > 0 && plan.tensor % width == 0 && stage.size() % block == 0,
                "{} ranks in groups of {} x {}", stage.size(), num_experts, width);
  const int rank = stage.rank();
  if (num_experts > 1)
    experts_ = stage.split(rank / block * width + rank % width, rank % block / width, "experts");
  if (width == 1 && plan.tensor > 1) expert_tensor_ = alone("expert-tensor");
  if (width > 1 && width < plan.tensor)
    expert_tensor_ = stage.split(rank / width, rank % width, "expert-tensor");
  expert_replicas_ = stage.split(rank % block, rank / block, "expert-replicas");
  of_experts_.emplace(*expert_replicas_, plan.expert_shard_ranks());
}

ShardingSpec ParallelContext::sharding(bool master, std::vector<ParameterRule> rules) const {
  ShardingSpec sharding = sharding_of(plan_, master, std::move(rules));
  if (sharding.zero_stage > 0) {
    sharding.shard = shard().rank();
    sharding.expert_shard = replicas(ParameterKind::expert).shard().rank();
  }
  return sharding;
}

std::vector<Communicator*> ParallelContext::groups() const {
  std::vector<Communicator*> all{&world(),     &tensor(),      &context(),       &data(),  &pipeline(),
                                 &gradients(), experts_.get(), &expert_tensor(), &shard(), &replicate()};
  if (of_experts_) {
    all.insert(all.end(), {expert_replicas_.get(), &of_experts_->shard(), &of_experts_->replicate()});
  }
  std::vector<Communicator*> different;
  for (Communicator* group : all) {
    if (group->size() > 1 && std::ranges::find(different, group) == different.end())
      different.push_back(group);
  }
  return different;
}

}  // namespace trireme
