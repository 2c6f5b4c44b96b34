#include "runtime/mesh/process_mesh.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme {
namespace {

using testing::HasSubstr;
using Names = std::vector<std::string>;

const ProcessMesh kMesh({{"pipeline", 2}, {"data", 3}, {"context", 1}, {"tensor", 2}}, 12);

TEST(ProcessMesh, CoordinatesAreRowMajorAndComeBack) {
  EXPECT_EQ(kMesh.coordinates(0), (std::vector{0, 0, 0, 0}));
  EXPECT_EQ(kMesh.coordinates(1), (std::vector{0, 0, 0, 1}));
  EXPECT_EQ(kMesh.coordinates(2), (std::vector{0, 1, 0, 0}));
  EXPECT_EQ(kMesh.coordinates(11), (std::vector{1, 2, 0, 1}));
  for (int r = 0; r < 12; ++r) EXPECT_EQ(kMesh.rank_at(kMesh.coordinates(r)), r);
  EXPECT_EQ(kMesh.coordinate(9, "data"), 1);
  EXPECT_EQ(to_string(kMesh), "pipeline 2 x data 3 x context 1 x tensor 2");
}

TEST(ProcessMesh, PeersMoveAlongOneAxis) {
  EXPECT_EQ(kMesh.peer(9, "data", 2), 11);
  EXPECT_EQ(kMesh.peer(9, "pipeline", 0), 3);
  EXPECT_EQ(kMesh.peer(9, "data", 1), 9);
  EXPECT_THROW((void)kMesh.peer(9, "data", 3), InternalError);
  EXPECT_THROW((void)kMesh.peer(9, "data", -1), InternalError);
}

TEST(ProcessMesh, GroupsDivideTheRanks) {
  EXPECT_EQ(kMesh.group(9, Names{"data"}), (std::vector{7, 9, 11}));
  EXPECT_EQ(kMesh.group(9, Names{"context"}), (std::vector{9}));
  EXPECT_EQ(kMesh.group(9, Names{"tensor", "pipeline"}), (std::vector{2, 3, 8, 9}));
  EXPECT_EQ(kMesh.group_size(Names{"tensor", "data"}), 6);
  for (const Names& axes :
       {Names{}, Names{"data"}, Names{"tensor", "data"}, Names{"tensor", "data", "pipeline", "context"}}) {
    std::set<std::vector<int>> groups;
    for (int r = 0; r < 12; ++r) {
      const auto group = kMesh.group(r, axes);
      EXPECT_EQ(group[static_cast<size_t>(kMesh.position_in_group(r, axes))], r);
      EXPECT_EQ(std::ssize(group), kMesh.group_size(axes));
      groups.insert(group);
    }
    EXPECT_EQ(std::ssize(groups) * kMesh.group_size(axes), 12);
  }
}

std::string refusal(std::vector<MeshAxis> axes, int world_size) {
  try {
    const ProcessMesh mesh(std::move(axes), world_size);
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(ProcessMesh, ProductsThatDoNotFitAreRefusedWithAFix) {
  EXPECT_EQ(refusal({{"data", 3}, {"tensor", 2}}, 8),
            "the layout data 3 x tensor 2 needs 6 ranks, the job has 8: data 4 would fit");
  EXPECT_EQ(refusal({{"data", 2}, {"tensor", 3}}, 8),
            "the layout data 2 x tensor 3 needs 6 ranks, the job has 8: tensor 4 would fit");
  EXPECT_EQ(refusal({{"data", 3}, {"tensor", 3}}, 4),
            "the layout data 3 x tensor 3 needs 9 ranks, the job has 4: start 9 ranks");
  EXPECT_THAT(refusal({{"data", 0}}, 1), HasSubstr("'data' has size 0"));
  EXPECT_THAT(refusal({{"data", 1 << 30}, {"tensor", 1 << 30}, {"pipeline", 1 << 30}}, 8),
              HasSubstr("the job has 8"));
}

TEST(ProcessMesh, NamesAndRanksItDoesNotHave) {
  EXPECT_THROW((void)kMesh.axis_size("expert"), InternalError);
  EXPECT_THROW((void)kMesh.group(0, Names{"data", "data"}), InternalError);
  EXPECT_THROW((void)kMesh.coordinates(12), InternalError);
  EXPECT_THROW(ProcessMesh({{"data", 1}, {"data", 1}}, 1), InternalError);
}

}  // namespace
}  // namespace trireme
