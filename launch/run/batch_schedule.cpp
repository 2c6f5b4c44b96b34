#include "launch/run/batch_schedule.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme::launch {

SampleRow training_samples(const Replica& replica, int64_t num_steps, int64_t global_batch,
                           int64_t micro_batch, int64_t first_sample) {
  const int64_t round = replica.count * micro_batch, rounds = global_batch / round;
  TRIREME_CHECK(global_batch % round == 0, "{} samples for {} replicas of {}", global_batch, replica.count,
                micro_batch);
  const int64_t own = first_sample + replica.index * micro_batch;
  return {num_steps * rounds, micro_batch, [=](int64_t i) -> SampleRun {
            return {i / rounds * global_batch + i % rounds * round + own, micro_batch};
          }};
}

SampleRow evaluation_samples(const Replica& replica, int64_t num_samples, int64_t micro_batch) {
  const int64_t round = replica.count * micro_batch, own = replica.index * micro_batch;
  return {(num_samples + round - 1) / round, micro_batch, [=](int64_t i) -> SampleRun {
            const int64_t at = i * round + own;
            if (at >= num_samples) return {0, 1, false};
            return {at, std::min(micro_batch, num_samples - at)};
          }};
}

std::vector<MicroBatch> evaluation_micro_batches(Context& ctx, const BatchReader& reader,
                                                 const Replica& replica, int64_t num_samples,
                                                 int64_t micro_batch) {
  return EvaluationBatches(ctx, reader, replica, num_samples, micro_batch).next(num_samples);
}

int64_t num_evaluated(int64_t available, int64_t eval_batches, int64_t global_batch) {
  const bool is_bounded = eval_batches > 0 && eval_batches < available / global_batch + 1;
  return is_bounded ? std::min(available, eval_batches * global_batch) : available;
}

}  // namespace trireme::launch
