// A parameter that the first and the last stage of a pipeline both use (Megatron-LM, arXiv 2104.04473).
#pragma once

#include <memory>

#include "parallel/module/parameter.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Both ends hold a copy with state of its own. As they start from the same values and update with the same
/// gradient, the copies stay equal bit for bit, and only gradients are sent.
class TiedWeights {
 public:
  /// `block` is this rank's copy; null on ranks without one. Every rank of `pipeline` makes one.
  TiedWeights(Communicator& pipeline, ParameterBlock* block);

  /// This rank's copy; null without one.
  ParameterBlock* block() const { return block_; }
  /// Its gradient is complete for the step on this rank: after the call it is the sum of both ends'. Called
  /// by both of them. Nothing where it is frozen.
  void sum(Context& ctx);

 private:
  ParameterBlock* block_;
  std::unique_ptr<Communicator> ends_;
};

}  // namespace trireme
