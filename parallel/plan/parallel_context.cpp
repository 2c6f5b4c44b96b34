#include "parallel/plan/parallel_context.h"

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
              {{"data", "context"}}) {
  const int size = plan.shard_ranks(), rank = gradients().rank();
  if (size == gradients().size()) {
    replicas_ = make_self_communicator(
        "replicas", [&world](std::string_view reason, ExitCode code) { world.abort(reason, code); });
    return;
  }
  TRIREME_CHECK(size > 0 && gradients().size() % size == 0, "{} ranks in groups of {}", gradients().size(),
                size);
  shard_ = gradients().split(rank / size, rank % size, "shard");
  replicas_ = gradients().split(rank % size, rank / size, "replicas");
}

}  // namespace trireme
