#include "parallel/training/evaluation.h"

#include "parallel/pipeline/plan_schedule.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

Evaluation::Evaluation(Context& ctx, const ParallelContext& parallel, ModelPart& part, uint64_t seed)
    : parallel_(parallel), seed_(seed), sums_(ctx, parallel), executor_(parallel.pipeline(), part) {}

BatchTotals Evaluation::run(Context& ctx, const MicroBatchSource& next) {
  const ScopedPhase phase(ctx.recorder(), Phase::evaluation);
  sums_.begin(ctx);  // of all that is handed out
  double weight = 0;
  for (auto some = next(); !some.empty(); some = next()) {
    for (MicroBatch& mb : some) {
      mb.training = false;
      mb.seed = seed_;
      mb.loss_sum = sums_.losses();
      mb.added_sum = Tensor();
    }
    executor_.run(ctx, evaluation_schedule(parallel_.plan(), static_cast<int>(some.size())), some);
    weight += sums_.weight_of(some);
  }
  const Tensor totals = Tensor::empty(ctx, {BatchSums::kNumTotals}, DType::f64, MemoryCategory::buffers);
  sums_.set_weight(ctx, weight);
  sums_.sum(ctx, totals);
  return with_sums({}, ops::to_host<double>(ctx, totals));
}

}  // namespace trireme
