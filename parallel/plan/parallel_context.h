// ParallelContext: the plan and its communicators. main builds one and hands it down.
#pragma once

#include <memory>
#include <optional>

#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/replica_groups.h"
#include "parallel/plan/sharding_spec.h"
#include "runtime/mesh/mesh_groups.h"

namespace trireme {

/// Axes, outermost first: pipeline, data, context, tensor. Tensor ranks are neighbours, since they
/// communicate most. Every rank of `world` makes one, with the same resolved plan.
class ParallelContext {
 public:
  /// `world` outlives this object. Throws UserError (usage) if the degrees do not multiply to the world's
  /// size.
  ParallelContext(Communicator& world, const ParallelPlan& plan);

  const ParallelPlan& plan() const { return plan_; }
  const ProcessMesh& mesh() const { return groups_.mesh(); }
  Communicator& world() const { return groups_.world(); }
  Communicator& tensor() const { return tensor_; }
  Communicator& context() const { return context_; }
  Communicator& data() const { return data_; }
  Communicator& pipeline() const { return pipeline_; }
  /// Ranks that hold the same parameters and process different tokens: gradients are summed over them.
  Communicator& gradients() const { return gradients_; }
  /// The expert mesh reuses the ranks of a stage (data, context, tensor) (arXiv 2504.14960),
  /// outermost first: replicas, experts, expert-tensor. experts(): the ranks that hold different experts,
  /// plan().expert of them. Where an expert is as wide as parallel.tensor, they are neighbours among
  /// gradients().
  Communicator& experts() const { return *experts_; }
  /// The neighbours that shard the width of the same experts, and pass the same rows to them.
  Communicator& expert_tensor() const { return expert_tensor_ ? *expert_tensor_ : tensor(); }
  /// The ranks that hold what this rank holds of these parameters.
  const ReplicaGroups& replicas(ParameterKind kind) const {
    return kind == ParameterKind::expert && of_experts_ ? *of_experts_ : of_dense_;
  }
  /// Of all parameters but those of experts.
  Communicator& shard() const { return of_dense_.shard(); }
  Communicator& replicate() const { return of_dense_.replicate(); }
  /// How this rank's parameters are laid out: sharding_of() the plan, with its place in each group of shards.
  ShardingSpec sharding(bool master = true, std::vector<ParameterRule> rules = {}) const;

  /// Every group of more than one rank that this rank belongs to, once.
  std::vector<Communicator*> groups() const;

 private:
  void make_expert_groups(Communicator& world);

  ParallelPlan plan_;
  MeshGroups groups_;
  Communicator &tensor_, &context_, &data_, &pipeline_, &gradients_;  // of groups_
  ReplicaGroups of_dense_;
  std::unique_ptr<Communicator> experts_, expert_replicas_;
  std::unique_ptr<Communicator> expert_tensor_;  // null where it is tensor()
  std::optional<ReplicaGroups> of_experts_;      // where other ranks hold experts than everything else
};

}  // namespace trireme
