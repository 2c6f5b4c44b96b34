// Predicted bytes of a rank, in the allocator's categories. docs/memory.md has the formulas.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "models/config/exit_config.h"
#include "models/config/loss_config.h"
#include "models/config/model_config.h"
#include "models/cost/teacher_memory.h"
#include "models/spec/rank_sizes.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/recomputation.h"
#include "parallel/plan/sharding_spec.h"
#include "parallel/pruning/prune_config.h"
#include "runtime/device/allocator.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct MemoryEstimate {
  std::array<int64_t, kNumMemoryCategories> bytes{};

  int64_t& operator[](MemoryCategory category) { return bytes[static_cast<size_t>(category)]; }
  int64_t operator[](MemoryCategory category) const { return bytes[static_cast<size_t>(category)]; }
  int64_t total() const;
};

/// What of a training run its memory depends on.
struct MemoryInputs {
  ModelConfig model;
  DType precision = DType::f32;
  int64_t micro_batch = 1;
  int64_t seq_len = 1;
  int64_t accumulation = 1;  ///< micro-batches of a rank in a step
  int64_t prefetch = 0;      ///< steps whose micro-batches are read in advance
  ParallelPlan plan;
  ShardingSpec sharding;
  Recomputation recomputation;
  bool float8 = false;  ///< linear layers of the blocks multiply in fp8
  LossConfig loss = {};
  ExitConfig exits = {};
  PruneConfig prune = {};
  bool separate_documents = false;  ///< samples have positions and first keys of their own
  int threads = 1;                  ///< of a rank
  int64_t attention_workspace = 0;  ///< the most bytes that cuDNN's attention may take; 0: it serves nothing
  bool deterministic_attention =
      true;  ///< cuDNN's way back, whose workspace then has an entry for each score
  ExpertLoad expert_load = ExpertLoad::even;
  /// Of a pipeline: where its virtual stages begin in the row of layers (layer_placement()), and what its
  /// stages do (training_schedule()).
  std::vector<int> placement = {};
  std::shared_ptr<const Schedule> schedule = nullptr;
  int stage = 0;               ///< whose share is looked at; estimate_memory() looks at all
  TeacherMemory teacher = {};  ///< of a distillation, beside all else

  /// Whether the stage holds a layer: 0 is the embedding, 1 + i block i, 1 + num_layers the head.
  bool holds(int64_t layer) const;
  /// Of its layers those of a chunk: [first, second).
  std::pair<int64_t, int64_t> layers_of(size_t chunk) const;
};

/// What the stages do; of a rank without a pipeline no more micro-batches than bring something new.
std::shared_ptr<const Schedule> schedule_of(const MemoryInputs& inputs);

/// The peaks of a rank in its training steps: of each category for itself, in blocks as the allocator rounds
/// them. Of ranks with unequal shares, the one with the largest.
///   weights, gradients, optimizer   models/cost/state_memory.h
///   activations                     models/cost/activation_memory.h
///   buffers   ids, targets and positions of this step and those read in advance, the rotary tables of the
///             rank's blocks, and the larger of: what the layers take for themselves (as activations are
///             found); gradients of heads that tensor-parallel ranks share; sums for the gradient norm. Not
///             in it: workspace of the library that multiplies matrices.
/// Context ranks hold their share of the rows, pipeline ranks their layers for the micro-batches in flight.
/// Tokens are taken to choose experts evenly, or as unevenly as can be (MemoryInputs::expert_load).
MemoryEstimate estimate_memory(const MemoryInputs& inputs);

/// The totals of one rank of each stage of the pipeline, added up.
int64_t estimate_stages_together(const MemoryInputs& inputs);

}  // namespace trireme
