// Benchmark of collectives, with the metrics of nccl-tests (github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md)
// over any backend.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme::launch {

struct CollectivesBenchOptions {
  std::string operation = "all";  ///< one of collective_names(), or all of them
  int64_t min_bytes = 1024;
  int64_t max_bytes = 16 << 20;
  int64_t factor = 4;  ///< from one size to the next
  DType dtype = DType::f32;
  ReduceOp op = ReduceOp::sum;
  int warmup = 5;       ///< calls before those that are timed
  int iterations = 20;  ///< timed calls
};

/// all_reduce, all_gather, reduce_scatter, broadcast, all_to_all, send_receive (to the next rank, from the
/// previous one).
std::span<const std::string> collective_names();

struct CollectiveTime {
  std::string operation;
  int64_t bytes = 0;               ///< of the larger of a rank's two sides
  int64_t count = 0;               ///< elements of the smaller
  double seconds = 0;              ///< of a call, on the slowest rank
  double algorithm_bandwidth = 0;  ///< bytes / seconds
  /// What each link would have to carry, so that sizes of groups compare: of an all-reduce 2 (n - 1) / n of
  /// it, of a gather, a reduce-scatter and an all-to-all (n - 1) / n.
  double bus_bandwidth = 0;
  int64_t num_wrong = 0;              ///< elements of all ranks that are not what they should be
  std::vector<int> wrong_ranks = {};  ///< ranks that have such elements
};

/// Times each size and checks the results of one more call. Every rank calls it and gets the same.
std::vector<CollectiveTime> run_collectives_bench(Context& ctx, Communicator& comm,
                                                  const CollectivesBenchOptions& options);

/// The table of nccl-tests.
void print_collectives(std::FILE* out, const CollectivesBenchOptions& options,
                       std::span<const CollectiveTime> times);

}  // namespace trireme::launch
