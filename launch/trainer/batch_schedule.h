// Which samples go through which rank in which micro-batch.
#pragma once

#include <vector>

#include "parallel/context_parallel/context_parallel.h"
#include "parallel/module/micro_batch.h"
#include "runtime/data/batch_reader.h"

namespace trireme {

/// The data-parallel replica this rank belongs to, and its share of the replica's tokens.
struct Replica {
  int index = 0;
  int count = 1;
  ContextShare share;
};

/// This replica's micro-batches of training step `step`. Sample k of the global batch is the stream's sample
/// step * global_batch + k; replicas take micro-batches in turn, so the global batch is the same whatever
/// their number.
std::vector<MicroBatch> training_micro_batches(Context& ctx, const BatchReader& reader,
                                               const Replica& replica, int64_t step, int64_t global_batch,
                                               int64_t micro_batch);

/// This replica's part of the first `num_samples` samples, each once; the last micro-batch may be smaller.
/// Every replica gets as many, since ranks that divide weights run layers together: where samples run out,
/// one whose targets do not count.
std::vector<MicroBatch> evaluation_micro_batches(Context& ctx, const BatchReader& reader,
                                                 const Replica& replica, int64_t num_samples,
                                                 int64_t micro_batch);

}  // namespace trireme
