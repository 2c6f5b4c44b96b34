#include "parallel/training/training_passes.h"

#include <vector>

#include "parallel/pipeline/plan_schedule.h"
#include "runtime/comm/record/recorder.h"

namespace trireme {

namespace {

// Lets an observer, where there is one, see the stages for as long as this lives.
class Observing {
 public:
  Observing(ModelPart& part, StageObserver* observer) : part_(part), observer_(observer) {
    if (observer_ == nullptr) return;
    for (Stage& stage : part_.chunks) stage.observe(*observer_);
  }
  ~Observing() {
    if (observer_ == nullptr) return;
    for (Stage& stage : part_.chunks) stage.ignore(*observer_);
  }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;

 private:
  ModelPart& part_;
  StageObserver* observer_;
};

}  // namespace

TrainingPasses::TrainingPasses(const ParallelContext& parallel, ModelPart& part, uint64_t seed)
    : parallel_(parallel),
      part_(part),
      seed_(seed),
      executor_(parallel.pipeline(), part),
      shared_(parallel.pipeline(), part),
      partial_gradients_(parallel.tensor(), part.blocks()),
      reducer_(parallel, *part.storage, parallel.plan().overlap, parallel.plan().gradient_dtype) {}

void TrainingPasses::run(Context& ctx, std::span<MicroBatch> micro_batches, double loss_scale,
                         const BatchSums& sums, StageObserver* observer) {
  const Observing observing(part_, observer);
  const auto num_micro_batches = static_cast<int>(micro_batches.size());
  if (!schedule_ || schedule_->num_micro_batches != num_micro_batches)
    schedule_ = training_schedule(parallel_.plan(), num_micro_batches);
  for (MicroBatch& mb : micro_batches) {
    mb.training = true;
    mb.seed = seed_;
    mb.loss_sum = sums.losses();
    mb.added_sum = sums.added();
    mb.gradient_scale = static_cast<float>(loss_scale);
  }
  const GradientHooks hooks{
      [&](std::span<const ParameterBlock* const> blocks) { reducer_.expect(ctx, blocks); },
      [&](std::span<ParameterBlock* const> blocks) { complete(ctx, blocks); }};
  shared_.begin();
  executor_.run(ctx, *schedule_, micro_batches, hooks);
  if (ctx.recorder() != nullptr) ctx.recorder()->enter(Phase::reduction);
  const auto held = shared_.held_elsewhere();
  reducer_.expect(ctx, std::vector<const ParameterBlock*>(held.begin(), held.end()));
  shared_.sum(ctx);
  reducer_.ready(ctx, held);
  reducer_.finish(ctx);
}

// What other stages hold too is left for the end of the step, when all of them have their gradient.
void TrainingPasses::complete(Context& ctx, std::span<ParameterBlock* const> blocks) {
  std::vector<ParameterBlock*> done = shared_.complete(blocks);
  partial_gradients_.sum(ctx, done);
  std::erase_if(done, [](const ParameterBlock* block) { return block->holders != 0; });
  reducer_.ready(ctx, done);
}

}  // namespace trireme
