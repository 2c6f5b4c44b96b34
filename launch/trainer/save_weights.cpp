#include "launch/trainer/save_weights.h"

#include <optional>

#include "launch/trainer/collect_parameters.h"
#include "launch/trainer/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/io/safetensors.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

std::vector<TensorSpec> specs_of(const std::vector<std::vector<Parameter>>& layers,
                                 const std::map<std::string, std::vector<float>>& biases) {
  std::vector<TensorSpec> specs;
  for (const auto& layer : layers) {
    for (const Parameter& p : layer) specs.push_back({p.name, DType::f32, p.global_shape});
  }
  for (const auto& [name, values] : biases) specs.push_back({name, DType::f32, {std::ssize(values)}});
  return specs;
}

}  // namespace

void save_weights(Context& ctx, const ParallelContext& parallel, Transformer& model, TrainingStep& step,
                  const std::string& path) {
  if (const auto bad = step.find_nonfinite_weight()) {
    throw_user(ExitCode::numerics, "no weights are written: a value is not finite, {}", describe(*bad));
  }
  std::optional<SafetensorsWriter> file;
  const auto biases = router_biases(ctx, parallel, model);
  if (parallel.world().rank() == 0)
    file.emplace(path, specs_of(parameters_by_layer(model.config()), biases), TextMap{{"format", "trireme"}});
  collect_parameters(ctx, parallel, model, step, ParameterState::master,
                     [&](const Parameter& p, const Tensor& whole) {
                       const std::vector<float> values = ops::to_host<float>(ctx, whole);
                       file->write(p.name, std::as_bytes(std::span(values)));
                     });
  if (!file) return;
  for (const auto& [name, values] : biases) file->write(name, std::as_bytes(std::span(values)));
  file->commit();
}

}  // namespace trireme
