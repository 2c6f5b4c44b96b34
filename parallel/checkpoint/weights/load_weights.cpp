#include "parallel/checkpoint/weights/load_weights.h"

#include <cstring>
#include <set>

#include <fmt/ranges.h>

#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

bool is_bias_of_router(const std::string& name) { return name.ends_with(kRouterBias); }

/// The parameter's block of the stored tensor.
std::vector<std::byte> block_of(const StoredTensor& stored, const Parameter& p) {
  const bool is_matrix = p.shape.rank() == 2;
  const auto element = static_cast<int64_t>(size_of(stored.dtype));
  const int64_t pitch = (is_matrix ? p.global_shape[1] : 1) * element,
                width = (is_matrix ? p.shape[1] : 1) * element,
                column = (is_matrix ? p.offset[1] : 0) * element;
  std::vector<std::byte> bytes(static_cast<size_t>(p.shape[0] * width));
  for (int64_t row = 0; row < p.shape[0] && width > 0; ++row)
    std::memcpy(bytes.data() + row * width, stored.bytes.data() + (p.offset[0] + row) * pitch + column,
                static_cast<size_t>(width));
  return bytes;
}

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
    if (!known.contains(name) && !is_bias_of_router(name))
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

void load_weights(Context& ctx, const CheckpointedModel& model, const std::string& path, bool upcycle) {
  const SafetensorsReader file(path);
  std::map<std::string, StoredKind, std::less<>> kinds;
  for (const auto& [name, tensor] : file.tensors()) kinds.insert({name, {tensor.shape, tensor.dtype}});
  check_weights_fit(kinds, path, model.layers, upcycle);
  model.part.storage->set(ctx, [&](const Parameter& p, const Tensor& values) {
    const std::string source = stored_name(p, upcycle);
    if (source.empty()) return false;
    const StoredTensor& stored = file.at(source);
    std::vector<std::byte> bytes = block_of(stored, p);
    const Tensor block = Tensor::empty(ctx, p.shape, stored.dtype, MemoryCategory::buffers);
    ctx.stream().copy(block.raw(), bytes.data(), bytes.size());
    ops::copy(ctx, block, values);
    ctx.stream().synchronize();
    return true;
  });
  load_router_biases(file, model);
}

}  // namespace trireme
