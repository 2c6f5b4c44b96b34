#include "parallel/checkpoint/weights/collect_parameters.h"

#include <algorithm>

#include "parallel/tensor_parallel/gather_parameter.h"

namespace trireme {

namespace {

/// On the first rank of a stage: its parameters one after the other, those of experts that other ranks hold
/// among them.
class StageParameters {
 public:
  /// `parameters`: all of the stage, in the order of the forward pass.
  StageParameters(Context& ctx, const ParallelContext& parallel, std::vector<Parameter> parameters,
                  ParameterVisitor emit)
      : ctx_(ctx), parallel_(parallel), parameters_(std::move(parameters)), emit_(std::move(emit)) {}

  /// The next one that this rank holds.
  void own(const Parameter& p, const Tensor& whole) {
    receive_until(p.name);
    emit_(p, whole);
    ++next_;
  }
  void finish() { receive_until(""); }

 private:
  // Ranks send their experts in the order of the parameters, so each message is the next one's.
  void receive_until(const std::string& name) {
    for (; next_ < parameters_.size() && parameters_[next_].name != name; ++next_) {
      const Parameter& p = parameters_[next_];
      const int64_t num_held = std::max(1, num_experts() / parallel_.experts().size());
      const Tensor whole = Tensor::empty(ctx_, p.global_shape, DType::f32, MemoryCategory::buffers);
      parallel_.experts().receive(ctx_.stream(), whole, static_cast<int>(p.expert / num_held));
      emit_(p, whole);
    }
  }
  int num_experts() const {
    int most = -1;
    for (const Parameter& p : parameters_) most = std::max(most, p.expert);
    return most + 1;
  }

  Context& ctx_;
  const ParallelContext& parallel_;
  std::vector<Parameter> parameters_;
  ParameterVisitor emit_;
  size_t next_ = 0;
};

}  // namespace

void collect_parameters(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model,
                        TrainingStep& step, ParameterState state, const ParameterVisitor& take) {
  Communicator &pipeline = parallel.pipeline(), &experts = parallel.experts();
  const bool is_taker = parallel.world().rank() == 0;
  const bool is_first_of_stage = parallel.gradients().rank() == 0 && parallel.tensor().rank() == 0;
  const bool sends_experts =
      parallel.replicas(ParameterKind::expert).all().rank() == 0 && parallel.expert_tensor().rank() == 0;
  const std::vector<int>& begins = model.placement;
  for (size_t stage = 0; stage + 1 < begins.size(); ++stage) {
    std::vector<Parameter> parameters;
    for (int i = begins[stage]; i < begins[stage + 1]; ++i) {
      const auto& layer = model.layers[static_cast<size_t>(i)];
      parameters.insert(parameters.end(), layer.begin(), layer.end());
    }
    const int owner = static_cast<int>(stage) % pipeline.size();
    if (owner == pipeline.rank()) {
      StageParameters ordered(ctx, parallel, parameters, [&](const Parameter& p, const Tensor& whole) {
        if (is_taker) {
          take(p, whole);
        } else {
          pipeline.send(ctx.stream(), whole, 0);
        }
      });
      // Nobody waits here while the first rank needs him elsewhere: for a bucket, or for his part of a width.
      std::vector<WorkPtr> sending;
      const auto give = [&](const Parameter& p, const Tensor& block) {
        Communicator& width = p.expert >= 0 ? parallel.expert_tensor() : parallel.tensor();
        const Tensor whole = gather_parameter(ctx, width, p, block);
        if (is_first_of_stage) {
          ordered.own(p, whole);
        } else if (p.expert >= 0 && sends_experts) {
          sending.push_back(experts.send_async(ctx.stream(), whole, 0));
        }
      };
      step.for_each_parameter(stage / static_cast<size_t>(pipeline.size()), state, give);
      if (is_first_of_stage) ordered.finish();
      for (const WorkPtr& work : sending) work->wait();
    } else if (is_taker) {
      for (const Parameter& p : parameters) {
        const Tensor whole = Tensor::empty(ctx, p.global_shape, DType::f32, MemoryCategory::buffers);
        pipeline.receive(ctx.stream(), whole, owner);
        take(p, whole);
      }
    }
  }
}

}  // namespace trireme
