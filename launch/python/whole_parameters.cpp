#include "launch/python/whole_parameters.h"

#include <algorithm>
#include <set>
#include <utility>

#include "launch/cli/options/nearest_name.h"
#include "parallel/checkpoint/weights/collect_parameters.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch::python {

namespace {

void check_names(const CheckpointedModel& model, const std::vector<std::string>& names) {
  std::vector<std::string> all;
  for (const auto& layer : model.layers) {
    for (const Parameter& p : layer) all.push_back(p.name);
  }
  for (const std::string& name : names) {
    if (std::ranges::find(all, name) == all.end())
      throw_usage("'{}' is no parameter of this model{}", name, did_you_mean(name, all));
  }
}

}  // namespace

std::vector<WholeParameter> gather(TrainingSession& session, Communicator& world, ParameterState state,
                                   float factor, const Wanted& wanted) {
  Context& ctx = session.context();
  const CheckpointedModel model = session.checkpointed();
  if (wanted.names) check_names(model, *wanted.names);
  const std::set<std::string> names = wanted.names
                                          ? std::set<std::string>(wanted.names->begin(), wanted.names->end())
                                          : std::set<std::string>();
  const auto is_wanted = [&](const Parameter& p) { return !wanted.names || names.contains(p.name); };
  std::vector<WholeParameter> found;
  collect_parameters(ctx, session.parallel(), model, session.step(), state,
                     [&](const Parameter& p, const Tensor& whole) {
                       if (!is_wanted(p)) return;
                       std::vector<float> values = ops::to_host_f32(ctx, whole);
                       if (factor != 1) {
                         for (float& value : values) value *= factor;
                       }
                       found.push_back({p.name, p.global_shape, std::move(values)});
                     });
  if (!wanted.on_all_ranks) return found;
  size_t next = 0;
  for (const auto& layer : model.layers) {
    for (const Parameter& p : layer) {
      if (!is_wanted(p)) continue;
      if (world.rank() != 0) {
        const auto count = static_cast<size_t>(p.global_shape.numel());
        found.push_back({p.name, p.global_shape, std::vector<float>(count)});
      }
      WholeParameter& whole = found[next++];
      TRIREME_CHECK(whole.name == p.name, "{} in the place of {}", whole.name, p.name);
      world.broadcast(ctx.host_stream(), Tensor::borrow(whole.values.data(), whole.shape, DType::f32), 0);
    }
  }
  return found;
}

}  // namespace trireme::launch::python
