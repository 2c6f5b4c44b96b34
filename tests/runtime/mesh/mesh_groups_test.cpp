#include "runtime/mesh/mesh_groups.h"

#include <gtest/gtest.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {
namespace {

using Names = std::vector<std::string>;

/// The world ranks of a group, in its order, as the group itself says.
std::vector<int> members(Communicator& group, int world_rank) {
  Context ctx;
  const Tensor own = Tensor::empty(ctx, {1}, DType::i32),
               all = Tensor::empty(ctx, {group.size()}, DType::i32);
  own.data<int32_t>()[0] = world_rank;
  group.all_gather(ctx.stream(), own, all);
  return {all.data<int32_t>(), all.data<int32_t>() + group.size()};
}

TEST(MeshGroups, EachGroupHoldsTheRanksOfTheMesh) {
  run_thread_ranks(8, [](Communicator& world) {
    const ProcessMesh mesh({{"pipeline", 2}, {"data", 2}, {"context", 1}, {"tensor", 2}}, 8);
    const MeshGroups groups(
        world, mesh,
        {{"context", "data"}, {"tensor", "pipeline"}, {"data"}, {"pipeline", "data", "context", "tensor"}});
    for (const MeshAxis& a : mesh.axes()) {
      Communicator& comm = groups.axis(a.name);
      EXPECT_EQ(comm.name(), a.name);
      EXPECT_EQ(comm.rank(), mesh.coordinate(world.rank(), a.name));
      EXPECT_EQ(members(comm, world.rank()), mesh.group(world.rank(), Names{a.name}));
    }
    EXPECT_EQ(groups.axis("context").backend(), "self");
    EXPECT_EQ(groups.group({"data", "context"}).name(), "data+context");
    EXPECT_EQ(&groups.group({"data"}), &groups.axis("data"));
    for (const Names& axes : {Names{"data", "context"}, Names{"pipeline", "tensor"},
                              Names{"tensor", "context", "data", "pipeline"}}) {
      EXPECT_EQ(members(groups.group(axes), world.rank()), mesh.group(world.rank(), axes));
    }
    EXPECT_THROW((void)groups.group({"data", "tensor"}), InternalError);
    EXPECT_THROW((void)groups.axis("expert"), InternalError);
    EXPECT_THROW((void)groups.group({"expert"}), InternalError);
  });
}

TEST(MeshGroups, OneRankIsAMeshOfOnes) {
  const auto world = make_self_communicator();
  const MeshGroups groups(*world, ProcessMesh({{"data", 1}, {"tensor", 1}}, 1), {{"data", "tensor"}});
  EXPECT_EQ(members(groups.axis("tensor"), 0), std::vector{0});
  EXPECT_EQ(members(groups.group({"tensor", "data"}), 0), std::vector{0});
}

TEST(MeshGroups, AbortingAGroupOfOneAbortsTheJob) {
  EXPECT_THROW(
      run_thread_ranks(2,
                       [](Communicator& world) {
                         const MeshGroups groups(world, ProcessMesh({{"data", 2}, {"tensor", 1}}, 2));
                         if (world.rank() == 0) groups.axis("tensor").abort("enough", ExitCode::hang);
                         (void)members(groups.axis("data"), world.rank());
                       }),
      EnvironmentError);
}

TEST(MeshGroups, RefusesAMeshOfAnotherSize) {
  const auto world = make_self_communicator();
  EXPECT_THROW(MeshGroups(*world, ProcessMesh({{"data", 2}}, 2)), InternalError);
}

}  // namespace
}  // namespace trireme
