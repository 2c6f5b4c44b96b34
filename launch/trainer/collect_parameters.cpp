#include "launch/trainer/collect_parameters.h"

#include "parallel/tensor_parallel/gather_parameter.h"

namespace trireme {

void collect_parameters(Context& ctx, const ParallelContext& parallel, Transformer& model, TrainingStep& step,
                        ParameterState state, const ParameterVisitor& take) {
  Communicator& pipeline = parallel.pipeline();
  const bool is_taker = parallel.world().rank() == 0;
  const bool is_in_first_replica = parallel.gradients().rank() == 0 && parallel.tensor().rank() == 0;
  const auto layers = parameters_by_layer(model.config());
  const std::vector<int>& begins = model.placement();
  const auto give = [&](const Parameter& p, const Tensor& block) {
    const Tensor whole = gather_parameter(ctx, parallel.tensor(), p, block);
    if (is_taker) {
      take(p, whole);
    } else if (is_in_first_replica) {
      pipeline.send(ctx.stream(), whole, 0);
    }
  };
  for (size_t stage = 0; stage + 1 < begins.size(); ++stage) {
    const int owner = static_cast<int>(stage) % pipeline.size();
    if (owner == pipeline.rank()) {
      step.for_each_parameter(stage / static_cast<size_t>(pipeline.size()), state, give);
    } else if (is_taker) {
      for (int i = begins[stage]; i < begins[stage + 1]; ++i) {
        for (const Parameter& p : layers[static_cast<size_t>(i)]) {
          const Tensor whole = Tensor::empty(ctx, p.global_shape, DType::f32, MemoryCategory::buffers);
          pipeline.receive(ctx.stream(), whole, owner);
          take(p, whole);
        }
      }
    }
  }
}

}  // namespace trireme
