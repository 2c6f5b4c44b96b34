// Weights, gradients and optimizer state of a rank, block by block as the parameter storage lays them out.
#pragma once

#include <cstdint>
#include <vector>

#include "models/cost/memory_estimate.h"
#include "parallel/plan/parameter_rules.h"

namespace trireme {

/// A block of parameters in flat storage: rows that one GEMM reads, or a vector.
struct StateBlock {
  int64_t
      layer;  ///< of the stage, the first that uses it; 0: embedding; 1 + i: block i; 1 + num_layers: head
  std::vector<int64_t> users;  ///< of the stage, ascending: `layer` and those that share the block with it
  int holders;                 ///< ParameterBlock::holders
  bool is_matrix;
  bool is_expert;       ///< of experts, which lie in a buffer of their own
  int64_t numel;        ///< of this rank's part
  int64_t partial = 0;  ///< of them, elements whose gradient other tensor-parallel ranks compute parts of
  ParameterSettings settings = {};  ///< how it is updated
};

/// Each once, in the order of the forward pass. A pipeline stage's are those of its layers.
std::vector<StateBlock> state_blocks(const MemoryInputs& inputs);

/// Sets weights, gradients and optimizer of `estimate` from the stage's `blocks` (state_blocks()): what
/// ParameterStorage allocates of flat_layout(): weights once; gradients in f32; what the optimizer keeps
/// (optimizer_state_floats()), and an f32 master of 16-bit weights where they have one,
/// and where it is pruned a mask of a byte each. ZeRO 1 shards
/// moments and masters by the parts, ZeRO 2 gradients too, to which it adds the buckets in use at one time,
/// as the schedule's backward passes make them and let go: those that layers fill, and two whose reduction is
/// in flight (none without overlap). ZeRO 3 shards the weights of matrices as well, whose buckets then end
/// with their layer, and adds those of two neighbouring layers (one without overlap). What several layers of
/// the stage use is there once; what layers of other stages use too is complete only at the end of the step.
/// Experts are sharded over as many ranks fewer as hold other experts.
void estimate_state(const MemoryInputs& inputs, const std::vector<StateBlock>& blocks,
                    MemoryEstimate& estimate);

/// The most bytes of gradients rounded to what they are sent as (ParallelPlan::gradient_dtype) at one time:
/// of the buckets in flight and the next. They are buffers.
int64_t sent_gradients(const MemoryInputs& inputs, const std::vector<StateBlock>& blocks);

}  // namespace trireme
