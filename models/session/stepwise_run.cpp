#include "models/session/stepwise_run.h"

#include <utility>

#include "parallel/checkpoint/weights/collect_parameters.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

StepwiseRun::StepwiseRun(TrainingSession& session, const BatchShape& shape, SampleReader read_sample,
                         WeightReader read_weights)
    : session_(session),
      shape_(shape),
      read_sample_(std::move(read_sample)),
      read_weights_(std::move(read_weights)) {}

std::vector<MicroBatch> StepwiseRun::read() {
  const Communicator& data = session_.parallel().data();
  const ContextShare share = session_.share();
  const int64_t n = shape_.micro_batch, begin = number_ * shape_.global_batch;
  const int64_t num_micro_batches = shape_.global_batch / (n * data.size());
  std::vector<MicroBatch> out;
  std::vector<int32_t> inputs(static_cast<size_t>(n * shape_.seq_len)), targets(inputs.size());
  std::vector<float> weights(read_weights_ ? inputs.size() : 0);
  for (int64_t m = 0; m < num_micro_batches; ++m) {
    const int64_t first = begin + (m * data.size() + data.rank()) * n;
    for (int64_t b = 0; b < n; ++b) {
      const int64_t to = b * shape_.seq_len;
      read_sample_(first + b, inputs.data() + to, targets.data() + to);
      if (read_weights_) read_weights_(first + b, weights.data() + to);
    }
    out.push_back(make_micro_batch(session_.context(), n, shape_.seq_len, inputs, targets, share,
                                   shape_.end_of_text, weights));
    out.back().first_sample = first;
  }
  return out;
}

StepNumbers StepwiseRun::run_passes(std::vector<MicroBatch>& micro_batches, double loss_scale) {
  pending_ = session_.step().forward_backward(micro_batches, loss_scale);
  return pending_->numbers();
}

void StepwiseRun::apply(double lr) {
  TRIREME_CHECK(pending_.has_value(), "step {} has no gradients", number_);
  session_.step().apply(std::move(*pending_), lr);
  pending_.reset();
  ++number_;
}

void StepwiseRun::skip() {
  TRIREME_CHECK(pending_.has_value(), "step {} has no gradients", number_);
  session_.step().skip(std::move(*pending_));
  pending_.reset();
}

NamedTensors StepwiseRun::collect(ParameterState state) {
  Context& ctx = session_.context();
  NamedTensors all;
  collect_parameters(ctx, session_.parallel(), session_.checkpointed(), session_.step(), state,
                     [&](const Parameter& p, const Tensor& t) { all[p.name] = ops::to_host_f32(ctx, t); });
  return all;
}

}  // namespace trireme
