// Sums gradients of replicated parameters of which each tensor-parallel rank computes only a part.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "parallel/module/parameter.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Two kinds of parameters have such gradients (Parameter::is_gradient_partial): norms under sequence
/// parallelism, which see the rank's own rows, and key-value heads that several ranks share, each of which
/// sees its own query heads.
class PartialGradients {
 public:
  /// Called by all ranks of `tensor`, which outlives this object, with the blocks of the stage.
  PartialGradients(Communicator& tensor, std::span<ParameterBlock* const> blocks);

  /// The gradients of these blocks are complete for the step on this rank: after the call they are on all
  /// ranks of the tensor axis. Called by all of them with the same blocks in the same order, before the data
  /// ranks' sum, and once a step. One collective for all blocks that the same ranks share.
  void sum(Context& ctx, std::span<ParameterBlock* const> blocks);

 private:
  Communicator& sharing(int num_copies);

  Communicator& tensor_;
  std::map<int, std::unique_ptr<Communicator>> groups_;  // by number of copies; none for those on all ranks
};

}  // namespace trireme
