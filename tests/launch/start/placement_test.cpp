#include "launch/start/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/start/physical_cores.h"
#include "launch/start/rank_coordinates.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::vector<std::string> hosts_of(const Placement& placement) {
  std::vector<std::string> hosts;
  for (const RankSpot& spot : placement.ranks)
    hosts.push_back(placement.hosts[static_cast<size_t>(spot.host)].offer.name);
  return hosts;
}

TEST(Placement, HostsAreFilledInTheirOrder) {
  const std::vector<HostOffer> unequal = {{"h1", 3, 8, 2}, {"h2", 2, 8, 4}, {"h3", 4, 8, 0}};
  const Placement all = place_ranks(unequal, 0, 0);
  EXPECT_THAT(hosts_of(all), ElementsAre("h1", "h1", "h1", "h2", "h2", "h3", "h3", "h3", "h3"));
  EXPECT_EQ(all.cores_per_rank, 2) << "what the host with the most ranks has for each";
  EXPECT_FALSE(all.oversubscribed);
  EXPECT_EQ(all.ranks[2].gpu, 0) << "three ranks share two GPUs";
  EXPECT_EQ(all.ranks[4].gpu, 1);
  EXPECT_EQ(all.ranks[8].gpu, -1);
  EXPECT_EQ(all.ranks[8].first_core, 6);
  EXPECT_EQ(all.ranks[8].local_rank, 3);
  const Placement some = place_ranks(unequal, 4, 0);
  EXPECT_THAT(hosts_of(some), ElementsAre("h1", "h1", "h1", "h2"));
  EXPECT_EQ(some.hosts.size(), 2);
  EXPECT_EQ(some.hosts[1].num_ranks, 1);
  test::expect_error(ExitCode::usage, {"--ranks 10", "9 slots (h1:3,h2:2,h3:4)"},
                     [&] { place_ranks(unequal, 10, 0); });
}

TEST(Placement, SlotsThatAreNotSaidAreGpusOrCores) {
  EXPECT_EQ(place_ranks({{"h", 0, 7, 4}}, 0, 2).num_ranks(), 4);
  EXPECT_EQ(place_ranks({{"h", 0, 7, 0}}, 0, 2).num_ranks(), 3);
  EXPECT_EQ(place_ranks({{"h", 0, 7, 0}}, 0, 0).num_ranks(), 7);
  EXPECT_EQ(place_ranks({{"h", 0, 2, 0}}, 0, 8).num_ranks(), 1);
}

TEST(Placement, CoresThatDoNotSufficeBindNobody) {
  const Placement fits = place_ranks({{"h", 2, 7, 0}}, 0, 0);
  EXPECT_EQ(fits.cores_per_rank, 3);
  EXPECT_THAT(placement_table(fits, {}), HasSubstr("3-5"));
  const Placement asked = place_ranks({{"h", 2, 7, 0}}, 0, 2);
  EXPECT_EQ(asked.ranks[1].first_core, 2);
  for (const Placement& none : {place_ranks({{"h", 3, 2, 0}}, 0, 0), place_ranks({{"h", 2, 7, 0}}, 0, 4)}) {
    EXPECT_TRUE(none.oversubscribed);
    EXPECT_EQ(none.cores_per_rank, 0);
    EXPECT_THAT(placement_table(none, {}), HasSubstr("not bound"));
  }
  const Placement unknown = place_ranks({{"h", 3, 0, 0}}, 0, 0);
  EXPECT_FALSE(unknown.oversubscribed);
  EXPECT_EQ(unknown.cores_per_rank, 0);
}

TEST(Placement, CoordinatesAreThoseOfTheLayout) {
  ParallelPlan plan;
  plan.data = 2, plan.tensor = 2, plan.pipeline = 2;
  const auto dense = rank_coordinates(plan);
  ASSERT_EQ(dense.size(), 8);
  EXPECT_THAT(dense[5], ElementsAre(Pair("dp", 0), Pair("pp", 1), Pair("cp", 0), Pair("tp", 1)));
  EXPECT_THAT(dense[2], ElementsAre(Pair("dp", 1), Pair("pp", 0), Pair("cp", 0), Pair("tp", 0)));
  plan.pipeline = 1, plan.data = 4, plan.expert = 2;
  const auto mixture = rank_coordinates(plan);
  EXPECT_THAT(mixture[4], testing::Contains(Pair("ep", 0)));  // experts as blocks of two tensor ranks
  EXPECT_THAT(mixture[6], testing::Contains(Pair("ep", 1)));
  const std::string table = placement_table(place_ranks({{"n1", 4, 4, 0}, {"n2", 4, 4, 0}}, 0, 0), mixture);
  EXPECT_THAT(table, HasSubstr("rank  host  local  cores      GPU      dp   pp   cp   tp   ep\n"));
  EXPECT_THAT(table, HasSubstr("     6  n2        2  2          -         3    0    0    0    1\n"));
}

TEST(PhysicalCores, ListsOfProcessors) {
  EXPECT_THAT(parse_cpu_list("0-2,8"), ElementsAre(0, 1, 2, 8));
  EXPECT_THAT(parse_cpu_list("5"), ElementsAre(5));
  EXPECT_THAT(parse_cpu_list(""), testing::IsEmpty());
  EXPECT_GE(num_physical_cores(), 1);
  EXPECT_GE(num_physical_cores("/nowhere"), num_physical_cores()) << "at least a processor a core";
}

}  // namespace
}  // namespace trireme::launch
