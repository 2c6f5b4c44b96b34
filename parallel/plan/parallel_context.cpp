#include "parallel/plan/parallel_context.h"

namespace trireme {

ParallelContext::ParallelContext(Communicator& world, const ParallelPlan& plan)
    : plan_(plan),
      groups_(world,
              ProcessMesh({{"pipeline", plan.pipeline},
                           {"data", plan.data},
                           {"context", plan.context},
                           {"tensor", plan.tensor}},
                          world.size()),
              {{"data", "context"}}) {}

}  // namespace trireme
