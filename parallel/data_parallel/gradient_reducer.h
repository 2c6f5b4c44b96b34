// Data parallelism: gradients are summed over the ranks in buckets, while the backward pass still runs.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Buckets are runs of blocks in a group's flat gradients, in the order in which the backward pass completes
/// them, so every rank issues the same reductions in the same order (Li et al., "PyTorch Distributed", VLDB
/// 2020, section 3.2).
class GradientReducer {
 public:
  /// A bucket closes once it holds `bucket_bytes`. Without `overlap` all buckets are reduced in finish().
  GradientReducer(Communicator& data, ParameterStorage& storage, int64_t bucket_bytes, bool overlap);

  /// The gradients of these blocks are complete for the step: reduces the buckets that have become full.
  void ready(Stream& stream, std::span<ParameterBlock* const> blocks);
  /// Reduces the buckets that are left and waits for all. After it the gradients are sums over all ranks, and
  /// the next step may begin.
  void finish(Stream& stream);

  int64_t num_buckets() const { return static_cast<int64_t>(buckets_.size()); }

 private:
  struct Bucket {
    Tensor gradients;  // f32, flat
    int num_blocks = 0;
    int num_ready = 0;
    WorkPtr work;
  };
  void reduce(Stream& stream, Bucket& bucket);

  Communicator& data_;
  bool overlap_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const ParameterBlock*, size_t> bucket_of_;
};

}  // namespace trireme
