#include "parallel/plan/parallel_context.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {

ParallelContext::ParallelContext(Communicator& world, const ParallelPlan& plan)
    : plan_(plan),
      groups_(world,
              ProcessMesh({{"pipeline", plan.pipeline},
                           {"data", plan.data},
                           {"context", plan.context},
                           {"tensor", plan.tensor}},
                          world.size()),
              {{"data", "context"}}),
      sharing_(gradients(), plan.shard_ranks()) {
  const int size = plan.expert, rank = gradients().rank();
  if (size == 1) {
    experts_ = make_self_communicator(
        "experts", [&world](std::string_view reason, ExitCode code) { world.abort(reason, code); });
    return;
  }
  TRIREME_CHECK(size > 0 && gradients().size() % size == 0, "{} ranks in groups of {}", gradients().size(),
                size);
  experts_ = gradients().split(rank / size, rank % size, "experts");
  expert_replicas_ = gradients().split(rank % size, rank / size, "expert-replicas");
  expert_sharing_.emplace(*expert_replicas_, plan.expert_shard_ranks());
}

std::vector<const Communicator*> ParallelContext::groups() const {
  std::vector<const Communicator*> all{&world(),     &tensor(),      &context(), &data(),    &pipeline(),
                                       &gradients(), experts_.get(), &shard(),   &replicas()};
  if (expert_sharing_) {
    all.insert(all.end(), {expert_replicas_.get(), &expert_sharing_->shard(), &expert_sharing_->replicas()});
  }
  std::vector<const Communicator*> different;
  for (const Communicator* group : all) {
    if (group->size() > 1 && std::ranges::find(different, group) == different.end())
      different.push_back(group);
  }
  return different;
}

}  // namespace trireme
