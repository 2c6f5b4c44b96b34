// ParallelContext: the plan and its communicators. main builds one and hands it down.
#pragma once

#include <memory>
#include <optional>

#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/sharing_ranks.h"
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
  /// The mesh of experts lies over the ranks of a stage (data, context, tensor) anew (arXiv 2504.14960),
  /// outermost first: replicas, experts, expert-tensor. experts(): the ranks that hold different experts,
  /// plan().expert of them. Where an expert is as wide as parallel.tensor, they are neighbours among
  /// gradients().
  Communicator& experts() const { return *experts_; }
  /// The neighbours that hold parts of the same experts, and pass the same rows to them.
  Communicator& expert_tensor() const { return expert_tensor_ ? *expert_tensor_ : tensor(); }
  /// The ranks that share this rank's experts, or everything else.
  const SharingRanks& sharing(bool of_experts) const {
    return of_experts && expert_sharing_ ? *expert_sharing_ : sharing_;
  }
  /// Of those that share all but the experts.
  Communicator& shard() const { return sharing_.shard(); }
  Communicator& replicas() const { return sharing_.replicas(); }

  /// Every group of more than one rank that this rank belongs to, once.
  std::vector<Communicator*> groups() const;

 private:
  ParallelPlan plan_;
  MeshGroups groups_;
  SharingRanks sharing_;
  std::unique_ptr<Communicator> experts_, expert_replicas_;
  std::unique_ptr<Communicator> expert_tensor_;  // null where it is tensor()
  std::optional<SharingRanks> expert_sharing_;   // where others share experts than everything else
};

}  // namespace trireme
