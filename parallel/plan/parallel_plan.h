// The parallel layout of a job: its degrees, and how communication overlaps with compute.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "parallel/plan/schedule_spec.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct ParallelPlan {
  int data = 0;           ///< data-parallel degree; 0: what the other degrees leave of the world
  int tensor = 1;         ///< tensor-parallel degree
  int pipeline = 1;       ///< pipeline stages
  int context = 1;        ///< context-parallel degree: ranks that shard each sequence
  int expert = 1;         ///< expert-parallel degree: ranks that shard the experts of a block
  int expert_tensor = 0;  ///< tensor-parallel degree inside each expert (ETP); 0: as `tensor`
  int expert_chunks = 1;  ///< chunks of the all-to-all that overlap with expert compute; 1: no overlap
  int zero_stage = 0;     ///< 1: shard optimizer state, 2: gradients too, 3: weights too (arXiv 1910.02054)
  int shard = 0;          ///< ZeRO shards over groups of this many neighbouring ranks (HSDP); 0: over all
  bool sequence = false;  ///< shard activations between tensor-parallel layers by token (arXiv 2205.05198)
  int tensor_chunks =
      1;  ///< chunks of a tensor-parallel product, each communicated while the next is computed
  ScheduleSpec schedule = {};  ///< pipeline schedule
  int virtual_stages = 1;      ///< model chunks per pipeline rank (interleaved)
  double bucket_mib =
      25.0;  ///< bucket size of the gradient reduction: larger communicates faster, overlaps less
  /// Overlap gradient reduction, and weight gathering (ZeRO 3), with compute.
  bool overlap = true;
  DType gradient_dtype = DType::f32;  ///< dtype in which gradients are communicated; sums are fp32

  /// Ranks of one model replica.
  int ranks_per_replica() const { return tensor * pipeline * context; }
  /// Ranks that replicate the same parameters and process different tokens: those that reduce gradients.
  int gradient_ranks() const { return data * context; }
  /// Ranks over which ZeRO shards.
  int shard_ranks() const { return shard == 0 ? gradient_ranks() : shard; }
  /// Ranks that shard the width of an expert: neighbouring tensor-parallel ranks.
  int expert_tensor_ranks() const { return expert_tensor == 0 ? tensor : expert_tensor; }
  /// Shards of the rows of a micro-batch, one per group of tensor-parallel ranks, that pass through experts.
  int expert_row_shards() const { return tensor / expert_tensor_ranks(); }
  /// Ranks of a stage that pass different rows to experts, and may hold different experts.
  int expert_row_ranks() const { return gradient_ranks() * expert_row_shards(); }
  /// Ranks over which ZeRO shards the state of an expert: of the shard those that hold it, which may be
  /// one.
  int expert_shard_ranks() const { return std::max(1, shard_ranks() * expert_row_shards() / expert); }
  /// Whether all ranks of a stage, also of other replicas, must run layers in lockstep, as each needs shards
  /// that others hold.
  bool in_lockstep() const { return zero_stage == 3 || expert_row_shards() > 1; }
  int world_size() const { return data * ranks_per_replica(); }
  int64_t bucket_bytes() const { return static_cast<int64_t>(bucket_mib * (1 << 20)); }

  friend bool operator==(const ParallelPlan&, const ParallelPlan&) = default;
};

/// An error if the degrees make more ranks or stages than the maximum of 2^20, else empty. Call it before
/// anything else, as products of larger degrees overflow.
std::string size_error(const ParallelPlan& plan);

/// All errors of the plan itself, each with the values and the nearest that work.
std::vector<std::string> errors_of(const ParallelPlan& plan);

/// Sets `data` if it is 0. An error, with the degrees that work, if the plan does not fit a world of this
/// many ranks; empty if it does, or if the degrees themselves are invalid (errors_of()).
std::string fit_to_world(ParallelPlan& plan, int world_size);

/// Both.
std::vector<std::string> resolve(ParallelPlan& plan, int world_size);

}  // namespace trireme
