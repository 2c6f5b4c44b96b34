#include "launch/trainer/save_weights.h"

#include <optional>

#include "parallel/tensor_parallel/gather_parameter.h"
#include "runtime/base/error.h"
#include "runtime/io/safetensors.h"

namespace trireme {

namespace {

std::vector<TensorSpec> specs_of(const std::vector<std::vector<Parameter>>& layers) {
  std::vector<TensorSpec> specs;
  for (const auto& layer : layers) {
    for (const Parameter& p : layer) specs.push_back({p.name, DType::f32, p.global_shape});
  }
  return specs;
}

}  // namespace

void save_weights(Context& ctx, const ParallelContext& parallel, Transformer& model, TrainingStep& step,
                  const std::string& path) {
  if (const auto bad = step.find_nonfinite_weight()) {
    throw_user(ExitCode::numerics, "no weights are written: a value is not finite, {}", describe(*bad));
  }
  Communicator& pipeline = parallel.pipeline();
  const bool is_in_first_replica = parallel.gradients().rank() == 0 && parallel.tensor().rank() == 0;
  const auto layers = parameters_by_layer(model.config());
  std::optional<SafetensorsWriter> file;
  if (parallel.world().rank() == 0) file.emplace(path, specs_of(layers), TextMap{{"format", "trireme"}});
  const auto write = [&](const Parameter& p, const Tensor& whole) {
    file->write(p.name, {static_cast<const std::byte*>(whole.raw()), static_cast<size_t>(whole.bytes())});
  };
  const std::vector<int>& begins = model.placement();
  for (size_t stage = 0; stage + 1 < begins.size(); ++stage) {
    const int owner = static_cast<int>(stage) % pipeline.size();
    if (owner == pipeline.rank()) {
      step.for_each_weight(stage / static_cast<size_t>(pipeline.size()),
                           [&](const Parameter& p, const Tensor& weight) {
                             const Tensor whole = gather_parameter(ctx, parallel.tensor(), p, weight);
                             if (!is_in_first_replica) return;
                             if (file) {
                               write(p, whole);
                             } else {
                               pipeline.send(ctx.stream(), whole, 0);
                             }
                           });
    } else if (file) {
      for (int i = begins[stage]; i < begins[stage + 1]; ++i) {
        for (const Parameter& p : layers[static_cast<size_t>(i)]) {
          const Tensor whole = Tensor::empty(ctx, p.global_shape, DType::f32, MemoryCategory::buffers);
          pipeline.receive(ctx.stream(), whole, owner);
          write(p, whole);
        }
      }
    }
  }
  if (file) file->commit();
}

}  // namespace trireme
