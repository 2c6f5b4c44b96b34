// MeshGroups: the communicators of a mesh.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/mesh/process_mesh.h"

namespace trireme {

/// This rank's group along each axis, and along the combinations asked for. Group ranks are in mesh order:
/// the rank in axis(a) is this rank's coordinate along a, the rank in a combined group its position_in_group.
class MeshGroups {
 public:
  /// Called by all ranks of `world`, which outlives this object, with equal arguments. Groups of one rank
  /// send nothing, and cost nothing. `combined` lists sets of axes, e.g. {{"data", "context"}}.
  MeshGroups(Communicator& world, ProcessMesh mesh,
             const std::vector<std::vector<std::string>>& combined = {});

  const ProcessMesh& mesh() const { return mesh_; }
  Communicator& world() const { return *world_; }
  /// Throws InternalError for an axis the mesh does not have.
  Communicator& axis(std::string_view axis) const;
  /// The group over several axes, named in any order. Throws InternalError when it was not asked for at
  /// construction.
  Communicator& group(const std::vector<std::string>& axes) const;

 private:
  std::string name_of(const std::vector<std::string>& axes) const;
  std::unique_ptr<Communicator> make(const std::vector<std::string>& axes) const;

  Communicator* world_;
  ProcessMesh mesh_;
  std::map<std::string, std::unique_ptr<Communicator>, std::less<>>
      groups_;  // by name: "data", "data+context"
};

}  // namespace trireme
