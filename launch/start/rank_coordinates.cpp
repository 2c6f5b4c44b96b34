#include "launch/start/rank_coordinates.h"

#include "runtime/mesh/process_mesh.h"

namespace trireme::launch {

std::vector<Coordinates> rank_coordinates(const ParallelPlan& plan) {
  const ProcessMesh mesh(
      {{"pipeline", plan.pipeline}, {"data", plan.data}, {"context", plan.context}, {"tensor", plan.tensor}},
      plan.world_size());
  const std::string stage[] = {"data", "context", "tensor"};
  const int width = plan.expert_tensor_ranks(), block = plan.expert * width;
  std::vector<Coordinates> all;
  for (int rank = 0; rank < mesh.size(); ++rank) {
    Coordinates one = {{"dp", mesh.coordinate(rank, "data")},
                       {"pp", mesh.coordinate(rank, "pipeline")},
                       {"cp", mesh.coordinate(rank, "context")},
                       {"tp", mesh.coordinate(rank, "tensor")}};
    if (plan.expert > 1) one.emplace_back("ep", mesh.position_in_group(rank, stage) % block / width);
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace trireme::launch
