#include "runtime/mesh/mesh_groups.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "runtime/comm/self/self_communicator.h"

namespace trireme {

MeshGroups::MeshGroups(Communicator& world, ProcessMesh mesh,
                       const std::vector<std::vector<std::string>>& combined)
    : world_(&world), mesh_(std::move(mesh)) {
  TRIREME_CHECK(mesh_.size() == world.size(), "a mesh of {} ranks on communicator '{}' of {}", mesh_.size(),
                world.name(), world.size());
  std::vector<std::vector<std::string>> wanted;
  for (const MeshAxis& a : mesh_.axes()) wanted.push_back({a.name});
  wanted.insert(wanted.end(), combined.begin(), combined.end());
  for (const auto& axes : wanted) {
    const std::string name = name_of(axes);
    if (!groups_.contains(name)) groups_.emplace(name, make(axes));
  }
}

std::string MeshGroups::name_of(const std::vector<std::string>& axes) const {
  std::vector<std::string> in_mesh_order;
  for (const MeshAxis& a : mesh_.axes()) {
    if (std::ranges::find(axes, a.name) != axes.end()) in_mesh_order.push_back(a.name);
  }
  return fmt::format("{}", fmt::join(in_mesh_order, "+"));
}

std::unique_ptr<Communicator> MeshGroups::make(const std::vector<std::string>& axes) const {
  const std::string name = name_of(axes);
  if (mesh_.group_size(axes) == 1) {
    return make_self_communicator(
        name, [world = world_](std::string_view reason, ExitCode code) { world->abort(reason, code); });
  }
  const int first = mesh_.group(world_->rank(), axes).front();
  return world_->split(first, mesh_.position_in_group(world_->rank(), axes), name);
}

Communicator& MeshGroups::axis(std::string_view axis) const {
  const auto at = groups_.find(axis);
  TRIREME_CHECK(at != groups_.end(), "no mesh axis '{}' in {}", axis, to_string(mesh_));
  return *at->second;
}

Communicator& MeshGroups::group(const std::vector<std::string>& axes) const {
  (void)mesh_.group_size(axes);  // refuses names that the mesh does not have
  const auto at = groups_.find(name_of(axes));
  TRIREME_CHECK(at != groups_.end(), "the group {} was not asked for when the mesh groups were made",
                fmt::join(axes, "+"));
  return *at->second;
}

}  // namespace trireme
