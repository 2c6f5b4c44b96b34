#include "launch/run/batch_schedule.h"

#include <algorithm>

#include "models/transformer/transformer.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

MicroBatch read(Context& ctx, const BatchReader& reader, const ContextShare& share, int64_t first,
                int64_t count) {
  const int64_t seq_len = reader.order().seq_len();
  std::vector<int32_t> inputs(static_cast<size_t>(count * seq_len)), targets(inputs.size());
  for (int64_t b = 0; b < count; ++b) {
    reader.read_sample(first + b, inputs.data() + b * seq_len, targets.data() + b * seq_len);
  }
  MicroBatch micro_batch = make_micro_batch(ctx, count, seq_len, inputs, targets, share);
  micro_batch.first_sample = first;
  return micro_batch;
}

MicroBatch without_targets(Context& ctx, MicroBatch mb) {
  ops::fill(ctx, mb.targets, ops::kIgnoredTarget);
  mb.num_targets = 0;
  return mb;
}

}  // namespace

std::vector<MicroBatch> training_micro_batches(Context& ctx, const BatchReader& reader,
                                               const Replica& replica, int64_t step, int64_t global_batch,
                                               int64_t micro_batch) {
  std::vector<MicroBatch> out;
  for (int64_t at = replica.index * micro_batch; at < global_batch; at += replica.count * micro_batch) {
    out.push_back(read(ctx, reader, replica.share, step * global_batch + at, micro_batch));
  }
  return out;
}

std::vector<MicroBatch> evaluation_micro_batches(Context& ctx, const BatchReader& reader,
                                                 const Replica& replica, int64_t num_samples,
                                                 int64_t micro_batch) {
  return EvaluationBatches(ctx, reader, replica, num_samples, micro_batch).next(num_samples);
}

std::vector<MicroBatch> EvaluationBatches::next(int64_t most) {
  std::vector<MicroBatch> out;
  for (; std::ssize(out) < most && begin_ < num_samples_; begin_ += replica_.count * micro_batch_) {
    const int64_t at = begin_ + replica_.index * micro_batch_;
    out.push_back(at < num_samples_
                      ? read(ctx_, reader_, replica_.share, at, std::min(micro_batch_, num_samples_ - at))
                      : without_targets(ctx_, read(ctx_, reader_, replica_.share, 0, 1)));
  }
  return out;
}

int64_t num_evaluated(int64_t available, int64_t eval_batches, int64_t global_batch) {
  const bool is_bounded = eval_batches > 0 && eval_batches < available / global_batch + 1;
  return is_bounded ? std::min(available, eval_batches * global_batch) : available;
}

}  // namespace trireme
