#include "launch/trainer/batch_schedule.h"

#include <algorithm>

#include "models/transformer/transformer.h"

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
  std::vector<MicroBatch> out;
  for (int64_t at = replica.index * micro_batch; at < num_samples; at += replica.count * micro_batch) {
    out.push_back(read(ctx, reader, replica.share, at, std::min(micro_batch, num_samples - at)));
  }
  return out;
}

}  // namespace trireme
