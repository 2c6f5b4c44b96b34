// BatchSpec: micro-batch, global batch and sequence length.
#pragma once

#include <cstdint>

#include "parallel/plan/parallel_plan.h"

namespace trireme {

/// 0: not known. What depends on it is then not looked at.
struct BatchSpec {
  int64_t micro_batch = 0;   ///< samples that go through a rank at once
  int64_t seq_len = 0;       ///< tokens per sample
  int64_t global_batch = 0;  ///< samples an optimizer step

  /// Micro-batches that a rank adds up in a step. Needs what it divides.
  int64_t accumulation(const ParallelPlan& plan) const { return global_batch / (micro_batch * plan.data); }
  /// This, with one micro-batch a rank and step where the global batch is not known and the plan is.
  BatchSpec completed(const ParallelPlan& plan) const {
    BatchSpec batch = *this;
    if (batch.global_batch == 0 && plan.data > 0) batch.global_batch = micro_batch * plan.data;
    return batch;
  }

  friend bool operator==(const BatchSpec&, const BatchSpec&) = default;
};

}  // namespace trireme
