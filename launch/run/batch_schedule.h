// Assigns samples to ranks and micro-batches.
#pragma once

#include <algorithm>
#include <vector>

#include "parallel/batches/batch_prefetcher.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/module/micro_batch.h"
#include "runtime/data/batch_reader.h"

namespace trireme::launch {

/// The data-parallel replica this rank belongs to, and its share of the replica's tokens.
struct Replica {
  int index = 0;
  int count = 1;
  ContextShare share;
};

/// This replica's micro-batches of `num_steps` training steps, step by step. Sample k of the global batch is
/// the stream's sample first_sample + step * global_batch + k; replicas take micro-batches in turn, so the
/// global batch, which their number times micro_batch divides, is the same whatever that is.
SampleRow training_samples(const Replica& replica, int64_t num_steps, int64_t global_batch,
                           int64_t micro_batch, int64_t first_sample = 0);

/// This replica's part of the first `num_samples` samples, each once; the last micro-batch may be smaller.
/// Every replica gets as many, since ranks that divide weights run layers together: where samples run out,
/// one whose targets do not count.
SampleRow evaluation_samples(const Replica& replica, int64_t num_samples, int64_t micro_batch);

/// All of these micro-batches at once.
std::vector<MicroBatch> evaluation_micro_batches(Context& ctx, const BatchReader& reader,
                                                 const Replica& replica, int64_t num_samples,
                                                 int64_t micro_batch);

/// The same in the same order, a few at a time, with slots of a BatchPrefetcher.
class EvaluationBatches {
 public:
  EvaluationBatches(Context& ctx, const BatchReader& reader, const Replica& replica, int64_t num_samples,
                    int64_t micro_batch, int64_t num_slots = 0)
      : batches_(ctx, reader, replica.share, evaluation_samples(replica, num_samples, micro_batch),
                 num_slots),
        num_samples_(num_samples),
        samples_a_round_(replica.count * micro_batch) {}

  /// The next `most` or what is left of them; none: that was all.
  std::vector<MicroBatch> next(int64_t most) {
    std::vector<MicroBatch> out = batches_.next(most);
    num_done_ = std::min(num_samples_, num_done_ + std::ssize(out) * samples_a_round_);
    return out;
  }
  /// Samples that all replicas together have been handed.
  int64_t num_done() const { return num_done_; }
  int64_t num_samples() const { return num_samples_; }

 private:
  BatchPrefetcher batches_;
  int64_t num_samples_, samples_a_round_;
  int64_t num_done_ = 0;
};

/// Samples of an evaluation: `eval_batches` global batches of them (0: all), of the `available` ones.
int64_t num_evaluated(int64_t available, int64_t eval_batches, int64_t global_batch);

}  // namespace trireme::launch
