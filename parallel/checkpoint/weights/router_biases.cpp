#include "parallel/checkpoint/weights/router_biases.h"

#include <algorithm>

#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

/// Of the experts that every router of the model chooses among.
int64_t num_experts(const CheckpointedModel& model) {
  for (const auto& layer : model.layers) {
    for (const Parameter& p : layer) {
      if (p.name.ends_with(kRouterWeight)) return p.global_shape[0];
    }
  }
  return 0;
}

/// Of a router of this rank among the whole model's.
size_t number_of(const RouterBalance& router, const CheckpointedModel& model) {
  const auto name = std::ranges::find(model.routers, router.name);
  TRIREME_CHECK(name != model.routers.end(), "{} is not a router of the model", router.name);
  return static_cast<size_t>(name - model.routers.begin());
}

}  // namespace

std::map<std::string, std::vector<float>> router_biases(Context& ctx, const ParallelContext& parallel,
                                                        const CheckpointedModel& model) {
  std::map<std::string, std::vector<float>> biases;
  if (model.routers.empty()) return biases;
  // A row a router: whether it has biases, then these. Each stage fills the rows of its own.
  const auto num_rows = std::ssize(model.routers);
  const int64_t width = num_experts(model) + 1;
  std::vector<float> table(static_cast<size_t>(num_rows * width), 0.0f);
  for (const RouterBalance* router : model.part.routers()) {
    if (router->bias.empty()) continue;
    const auto row = table.begin() + static_cast<int64_t>(number_of(*router, model)) * width;
    *row = 1;
    std::ranges::copy(router->bias, row + 1);
  }
  const Tensor all = ops::to_device(ctx, table, {num_rows, width});
  parallel.pipeline().all_reduce(ctx.stream(), all);
  table = ops::to_host<float>(ctx, all);
  for (int64_t i = 0; i < num_rows; ++i) {
    const auto row = table.begin() + i * width;
    if (*row == 0) continue;
    biases[model.routers[static_cast<size_t>(i)] + ".bias"].assign(row + 1, row + width);
  }
  return biases;
}

RouterStates router_states(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model) {
  RouterStates states;
  if (model.routers.empty()) return states;
  // A row a router: whether it has biases, these, its loads. Each stage fills the rows of its own.
  const int64_t experts = num_experts(model), width = 1 + 2 * experts;
  std::vector<double> table(static_cast<size_t>(std::ssize(model.routers) * width), 0.0);
  const auto row_of = [&](size_t i) { return table.begin() + static_cast<int64_t>(i) * width; };
  for (const RouterBalance* router : model.part.routers()) {
    const auto row = row_of(number_of(*router, model));
    *row = router->bias.empty() ? 0 : 1;
    std::ranges::copy(router->bias, row + 1);
    std::ranges::copy(router->last_load, row + 1 + experts);
  }
  const Tensor all = ops::to_device(ctx, table, {std::ssize(model.routers), width});
  parallel.pipeline().all_reduce(ctx.stream(), all);
  table = ops::to_host<double>(ctx, all);
  for (size_t i = 0; i < model.routers.size(); ++i) {
    const auto row = row_of(i), loads = row + 1 + experts;
    const std::string& name = model.routers[i];
    if (*row != 0) states.biases[name].assign(row + 1, loads);
    states.loads[name].assign(loads, loads + experts);
  }
  return states;
}

void set_router_states(const RouterStates& states, ModelPart& part) {
  for (RouterBalance* router : part.routers()) {
    const auto bias = states.biases.find(router->name);
    if (bias != states.biases.end() && bias->second.size() == router->last_load.size())
      router->bias = bias->second;
    const auto load = states.loads.find(router->name);
    if (load != states.loads.end() && load->second.size() == router->last_load.size())
      router->last_load = load->second;
  }
}

void load_router_biases(const WeightSource& source, const CheckpointedModel& model) {
  if (model.part.routers().empty()) return;
  const auto kinds = source.kinds();
  for (RouterBalance* router : model.part.routers()) {
    const auto it = kinds.find(router->name + ".bias");
    if (it == kinds.end()) continue;
    const Shape shape{std::ssize(router->last_load)};
    const auto& [stored, dtype] = it->second;
    if (stored != shape || dtype != DType::f32) {
      throw_user(ExitCode::bad_input, "{}: {} is {} of {}, in the model {} of f32", source.path(), it->first,
                 to_string(stored), to_string(dtype), to_string(shape));
    }
    router->bias.resize(router->last_load.size());
    source.read(it->first, Parameter::whole(it->first, shape, 0, 0), router->bias);
  }
}

}  // namespace trireme
