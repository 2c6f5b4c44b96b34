#include "parallel/checkpoint/weights/save_weights.h"

#include <optional>

#include "parallel/checkpoint/weights/collect_parameters.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/io/safetensors/safetensors.h"
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

void save_weights(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model,
                  TrainingStep& step, const std::string& path) {
  if (const auto bad = step.find_nonfinite_weight()) {
    throw AgreedEnd(ExitCode::numerics,
                    fmt::format("weights were not written: a value is not finite, {}", describe(*bad)));
  }
  const auto biases = router_biases(ctx, parallel, model);
  // The other ranks continue sending what the first cannot write: they hear of it when all is done.
  std::optional<SafetensorsWriter> file;
  std::string failure;
  const auto attempt = [&](auto&& write) {
    if (!failure.empty()) return;
    try {
      write();
    } catch (const Error& error) {
      failure = error.what();
      file.reset();
    }
  };
  const bool writes = parallel.world().rank() == 0;
  if (writes) {
    attempt([&] { file.emplace(path, specs_of(model.layers, biases), TextMap{{"format", "trireme"}}); });
  }
  collect_parameters(ctx, parallel, model, step, ParameterState::master,
                     [&](const Parameter& p, const Tensor& whole) {
                       attempt([&] {
                         const std::vector<float> values = ops::to_host<float>(ctx, whole);
                         file->write(p.name, std::as_bytes(std::span(values)));
                       });
                     });
  if (writes) {
    attempt([&] {
      for (const auto& [name, values] : biases) file->write(name, std::as_bytes(std::span(values)));
      file->commit();
    });
  }
  int32_t has_failed = failure.empty() ? 0 : 1;
  parallel.world().broadcast(ctx.host_stream(), Tensor::borrow(&has_failed, {1}, DType::i32), 0);
  if (has_failed != 0) throw AgreedEnd(ExitCode::resources, failure);
}

}  // namespace trireme
