// FirstRank: the rank of a model's replica that decides for all of them what is generated.
#pragma once

#include <cstdint>
#include <span>

#include "parallel/plan/parallel_context.h"
#include "runtime/device/context.h"

namespace trireme {

/// The ranks that run a model together: those of a replica, with the ranks of other replicas that hold parts
/// of its weights (ZeRO 3) or some of its experts.
class FirstRank {
 public:
  /// `parallel` outlives it.
  explicit FirstRank(const ParallelContext& parallel) : parallel_(parallel) {}

  bool is_this() const;
  /// The first rank's values on all of them, which call it together.
  void share(Context& ctx, std::span<int32_t> values) const;

 private:
  /// Other replicas that run in step with this one.
  Communicator& replicas() const;

  const ParallelContext& parallel_;
};

}  // namespace trireme
