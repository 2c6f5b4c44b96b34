// RoutingObserver: observes the choices of routers.
#pragma once

#include "parallel/module/micro_batch.h"
#include "runtime/device/context.h"

namespace trireme {

struct RouterBalance;

/// Of the rows of a micro-batch that a rank passes to experts.
struct ExpertOutputs {
  Tensor chosen, slots, gates;  ///< [rows, k]: expert, row of `returned` (-1: none), and gate of each choice
  /// [choices, hidden]; of ranks that share the width of experts (ExpertParallel::width()) each has a term.
  Tensor returned;
};

/// Called by a router after each choice, in training and outside of it, in passes that are run again too.
class RoutingObserver {
 public:
  virtual ~RoutingObserver() = default;
  /// From logits [rows, E] of the micro-batch's rows: chosen [rows, k] i32 and gates [rows, k]. An observer
  /// may write other experts and their gates: the backward pass follows.
  virtual void after_choice(Context&, const MicroBatch&, const RouterBalance&, const Tensor& logits,
                            const Tensor& chosen, const Tensor& gates) = 0;
  /// What the chosen experts made of the rows, before the gates. Not in backward passes.
  virtual void after_experts(Context&, const RouterBalance&, const ExpertOutputs&) {}
};

}  // namespace trireme
