// Which samples go through which rank in which micro-batch.
#pragma once

#include <algorithm>
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

/// The same micro-batches in the same order, a few at a time. What it is made of outlives it.
class EvaluationBatches {
 public:
  EvaluationBatches(Context& ctx, const BatchReader& reader, const Replica& replica, int64_t num_samples,
                    int64_t micro_batch)
      : ctx_(ctx), reader_(reader), replica_(replica), num_samples_(num_samples), micro_batch_(micro_batch) {}

  /// The next `most` or what is left of them; none: that was all.
  std::vector<MicroBatch> next(int64_t most);
  /// Samples that all replicas together have been handed.
  int64_t num_done() const { return std::min(begin_, num_samples_); }
  int64_t num_samples() const { return num_samples_; }

 private:
  Context& ctx_;
  const BatchReader& reader_;
  Replica replica_;
  int64_t num_samples_, micro_batch_;
  int64_t begin_ = 0;  // of what comes next
};

/// Samples of an evaluation: `eval_batches` global batches of them (0: all), of the `available` ones.
int64_t num_evaluated(int64_t available, int64_t eval_batches, int64_t global_batch);

}  // namespace trireme
