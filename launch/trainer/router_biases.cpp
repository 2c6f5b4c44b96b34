#include "launch/trainer/router_biases.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

std::map<std::string, std::vector<float>> router_biases(Context& ctx, const ParallelContext& parallel,
                                                        Transformer& model) {
  const ModelConfig& config = model.config();
  std::map<std::string, std::vector<float>> biases;
  if (config.moe.num_experts == 0) return biases;
  // A row a block: whether its router has biases, then these. Each stage fills the rows of its own.
  const int64_t width = config.moe.num_experts + 1;
  std::vector<float> table(static_cast<size_t>(config.num_layers * width), 0.0f);
  for (const RouterBalance* router : model.part().routers()) {
    if (router->bias.empty()) continue;
    const auto row = table.begin() + router->layer * width;
    *row = 1;
    std::ranges::copy(router->bias, row + 1);
  }
  const Tensor all = ops::to_device(ctx, table, {config.num_layers, width});
  parallel.pipeline().all_reduce(ctx.stream(), all);
  table = ops::to_host<float>(ctx, all);
  const auto layers = parameters_by_layer(config);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto row = table.begin() + i * width;
    if (*row == 0) continue;
    const auto& block = layers[static_cast<size_t>(i + 1)];  // behind the embedding
    const auto weight =
        std::ranges::find_if(block, [](const Parameter& p) { return p.name.ends_with(kRouterWeight); });
    TRIREME_CHECK(weight != block.end(), "block {} has biases and no router", i);
    std::string name = weight->name;
    name.replace(name.size() - kRouterWeight.size(), kRouterWeight.size(), kRouterBias);
    biases[name].assign(row + 1, row + width);
  }
  return biases;
}

void load_router_biases(const SafetensorsReader& file, Transformer& model) {
  for (RouterBalance* router : model.part().routers()) {
    const auto it = file.tensors().find(router->name + ".bias");
    if (it == file.tensors().end()) continue;
    const StoredTensor& stored = it->second;
    const Shape shape{std::ssize(router->last_load)};
    if (stored.shape != shape || stored.dtype != DType::f32) {
      throw_user(ExitCode::bad_input, "{}: {} is {} of {}, the model's is {} of f32", file.path(), it->first,
                 to_string(stored.shape), to_string(stored.dtype), to_string(shape));
    }
    router->bias.resize(router->last_load.size());
    std::memcpy(router->bias.data(), stored.bytes.data(), stored.bytes.size());
  }
}

}  // namespace trireme
