#include "parallel/checkpoint/weights/load_weights.h"

#include <set>

#include <fmt/ranges.h>

#include "parallel/checkpoint/weights/own_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

// Weights are of use without the scales that they were trained with.
constexpr std::string_view kScaleEnd = ".weight_scale";

bool is_bias_of_router(const std::string& name) { return name.ends_with(kRouterBias); }

}  // namespace

std::string stored_name(const Parameter& p, bool upcycle) {
  if (!upcycle) return p.name;
  if (p.expert < 0) return p.name.ends_with(kRouterWeight) ? "" : p.name;
  const std::string part = fmt::format(".experts.{}", p.expert);
  std::string name = p.name;
  return name.erase(name.find(part), part.size());
}

void check_weights_fit(const std::map<std::string, StoredKind, std::less<>>& stored, const std::string& path,
                       const std::vector<std::vector<Parameter>>& layers, bool upcycle) {
  constexpr size_t kMost = 5;
  std::vector<std::string> errors;
  std::set<std::string, std::less<>> known;
  bool lacks_experts = false;
  for (const auto& layer : layers) {
    for (const Parameter& p : layer) {
      const std::string source = stored_name(p, upcycle);
      if (source.empty()) continue;
      const auto it = stored.find(source);
      if (!known.insert(source).second) continue;
      if (it == stored.end()) {
        if (p.is_scale) continue;  // measured
        errors.push_back(fmt::format("{} is missing", source));
        lacks_experts = lacks_experts || p.expert >= 0;
      } else if (it->second.shape != p.global_shape) {
        errors.push_back(fmt::format("{} is {}, in the model {}", source, to_string(it->second.shape),
                                     to_string(p.global_shape)));
      } else if (!is_compute_type(it->second.dtype)) {
        errors.push_back(
            fmt::format("{} is of type {}: f32, bf16 or f16 are read", source, to_string(it->second.dtype)));
      }
    }
  }
  for (const auto& [name, unused] : stored) {
    if (!known.contains(name) && !is_bias_of_router(name) && !name.ends_with(kScaleEnd))
      errors.push_back(fmt::format("the model has no parameter {}", name));
  }
  if (errors.empty()) return;
  const size_t num_errors = errors.size();
  errors.resize(std::min(num_errors, kMost));
  if (num_errors > kMost) errors.push_back(fmt::format("{} more", num_errors - kMost));
  const char* hint = upcycle         ? "; moe.upcycle needs a dense model with the same feed-forward "
                                       "size and no biases there, and no shared expert"
                     : lacks_experts ? "; to start an MoE model from a dense one, add --moe.upcycle on"
                                     : "";
  throw_user(ExitCode::bad_input, "{} does not fit the model: {}{}", path, fmt::join(errors, "; "), hint);
}

void load_weights(Context& ctx, const CheckpointedModel& model, const WeightSource& source, bool upcycle) {
  check_weights_fit(source.kinds(), source.path(), model.layers, upcycle);
  const auto kinds = source.kinds();
  std::vector<float> block;
  model.part.storage->set(ctx, [&](const Parameter& p, const Tensor& values) {
    const std::string name = stored_name(p, upcycle);
    if (name.empty() || (p.is_scale && !kinds.contains(name))) return false;
    block.resize(static_cast<size_t>(p.shape.numel()));
    source.read(name, p, block);
    const Tensor read = Tensor::empty(ctx, p.shape, DType::f32, MemoryCategory::buffers);
    ctx.stream().copy(read.raw(), block.data(), block.size() * sizeof(float));
    ops::copy(ctx, read, values);
    ctx.stream().synchronize();
    return true;
  });
  load_router_biases(source, model);
}

void load_weights(Context& ctx, const CheckpointedModel& model, const std::string& path, bool upcycle) {
  load_weights(ctx, model, *open_own_weights(path), upcycle);
}

}  // namespace trireme
