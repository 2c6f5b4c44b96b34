// The layout of a job: a handful of integers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "parallel/plan/schedule_spec.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct ParallelPlan {
  int data = 0;  ///< data-parallel degree; 0: what is left of the world after the other degrees
  int tensor = 1;
  int pipeline = 1;
  int context = 1;
  int expert = 1;         ///< ranks over which experts are divided
  int expert_tensor = 0;  ///< ranks over which the width of an expert is divided; 0: as `tensor`
  int expert_chunks = 1;  ///< parts in which rows travel to experts and back, while experts of others compute
  int zero_stage = 0;     ///< 0..3 (arXiv 1910.02054)
  int shard = 0;  ///< ZeRO divides among so many neighbours of the gradient ranks (HSDP); 0: among all
  bool sequence = false;  ///< sequence parallelism beside tensor parallelism (arXiv 2205.05198)
  int tensor_chunks = 1;  ///< a layer's product and its tensor-parallel collective go in so many, overlapped
  ScheduleSpec schedule = {};  ///< of the pipeline
  int virtual_stages = 1;
  double bucket_mib =
      25.0;  ///< gradients are reduced in buckets of this size while the backward pass still runs
  /// Gradients are reduced, and weights gathered (ZeRO 3), while layers compute.
  bool overlap = true;
  DType gradient_dtype = DType::f32;  ///< what gradients are sent as; sums are fp32

  /// Ranks of one model replica.
  int ranks_per_replica() const { return tensor * pipeline * context; }
  /// Ranks that hold the same parameters and see different tokens.
  int gradient_ranks() const { return data * context; }
  /// Ranks among which ZeRO divides.
  int shard_ranks() const { return shard == 0 ? gradient_ranks() : shard; }
  /// Ranks over which the width of an expert is divided: neighbours among the tensor ranks.
  int expert_tensor_ranks() const { return expert_tensor == 0 ? tensor : expert_tensor; }
  /// Parts in which the tensor ranks divide the rows of a micro-batch before they pass through experts.
  int expert_row_shards() const { return tensor / expert_tensor_ranks(); }
  /// Ranks of a stage that pass different rows to experts: those that may hold different ones.
  int expert_row_ranks() const { return gradient_ranks() * expert_row_shards(); }
  /// Ranks among which ZeRO divides the state of an expert: of the shard those that hold it, which may be
  /// one.
  int expert_shard_ranks() const { return std::max(1, shard_ranks() * expert_row_shards() / expert); }
  /// Whether all ranks of a stage run layers together, also those of other replicas: they hold parts of what
  /// the others read.
  bool in_lockstep() const { return zero_stage == 3 || expert_row_shards() > 1; }
  int world_size() const { return data * ranks_per_replica(); }
  int64_t bucket_bytes() const { return static_cast<int64_t>(bucket_mib * (1 << 20)); }

  friend bool operator==(const ParallelPlan&, const ParallelPlan&) = default;
};

/// Why the degrees make more ranks, or stages, than there can be (2^20); empty: they do not. All else that is
/// computed of a plan is asked for after this: its products wrap there.
std::string size_error(const ParallelPlan& plan);

/// Every error of the plan in itself, each with the numbers and the nearest that work.
std::vector<std::string> errors_of(const ParallelPlan& plan);

/// Sets data where it is 0. Why the plan's degrees do not make a world of so many ranks, with those that
/// would; empty: they do, or are no degrees at all (errors_of()).
std::string fit_to_world(ParallelPlan& plan, int world_size);

/// Both.
std::vector<std::string> resolve(ParallelPlan& plan, int world_size);

}  // namespace trireme
