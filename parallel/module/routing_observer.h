// RoutingObserver: observes the choices of routers.
#pragma once

#include "parallel/module/micro_batch.h"
#include "runtime/device/context.h"

namespace trireme {

struct RouterBalance;

/// Called by a router after each choice, in training and outside of it, in passes that are run again too.
class RoutingObserver {
 public:
  virtual ~RoutingObserver() = default;
  /// From logits [rows, E] of the micro-batch's rows: chosen [rows, k] i32 and gates [rows, k]. An observer
  /// may write other experts and their gates: the backward pass follows.
  virtual void after_choice(Context&, const MicroBatch&, const RouterBalance&, const Tensor& logits,
                            const Tensor& chosen, const Tensor& gates) = 0;
};

}  // namespace trireme
