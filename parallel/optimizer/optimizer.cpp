#include "parallel/optimizer/optimizer.h"

#include "runtime/ops/zeros.h"

namespace trireme {

std::vector<const ParameterGroup*> groups_of(ParameterStorage& storage, OptimizerKind kind) {
  std::vector<const ParameterGroup*> groups;
  for (const ParameterGroup& group : storage.groups()) {
    if (!group.settings.frozen && group.settings.optimizer == kind) groups.push_back(&group);
  }
  return groups;
}

Tensor make_state(Context& ctx, const ParameterGroup& group) {
  return ops::zeros(ctx, {group.numel / group.num_shards}, DType::f32, MemoryCategory::optimizer);
}

}  // namespace trireme
