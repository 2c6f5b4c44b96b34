// ParallelContext: the plan and its communicators. main builds one and hands it down.
#pragma once

#include "parallel/plan/parallel_plan.h"
#include "runtime/mesh/mesh_groups.h"

namespace trireme {

/// Axes, outermost first: pipeline, data, context, tensor. Tensor ranks are neighbours, since they talk most.
/// Every rank of `world` makes one, with the same resolved plan.
class ParallelContext {
 public:
  /// `world` outlives this object. Throws UserError (usage) when the degrees do not make the world's size.
  ParallelContext(Communicator& world, const ParallelPlan& plan);

  const ParallelPlan& plan() const { return plan_; }
  const ProcessMesh& mesh() const { return groups_.mesh(); }
  Communicator& world() const { return groups_.world(); }
  Communicator& tensor() const { return groups_.axis("tensor"); }
  Communicator& context() const { return groups_.axis("context"); }
  Communicator& data() const { return groups_.axis("data"); }
  Communicator& pipeline() const { return groups_.axis("pipeline"); }
  /// Ranks that hold the same parameters and see different tokens: gradients are summed over them.
  Communicator& gradients() const { return groups_.group({"data", "context"}); }
  /// Of these, the neighbours among which state is divided (ZeRO), plan().shard_ranks() of them; and those
  /// that hold the same part in each such group.
  Communicator& shard() const { return shard_ ? *shard_ : gradients(); }
  Communicator& replicas() const { return *replicas_; }

 private:
  ParallelPlan plan_;
  MeshGroups groups_;
  std::unique_ptr<Communicator> shard_;  // null where it is gradients()
  std::unique_ptr<Communicator> replicas_;
};

}  // namespace trireme
