// What ranks measure together, with ranks as threads.
#include "launch/doctor/traffic.h"

#include <set>

#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/doctor/doctor.h"
#include "launch/doctor/judge.h"
#include "launch/doctor/report.h"
#include "runtime/comm/comm_call.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/launch/doctor/facts.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Other ranks' collectives as they are; sums of f32 of many elements get one wrong on one rank.
class Corrupting final : public Communicator {
 public:
  Corrupting(Communicator& ranks, int bad)
      : Communicator(ranks.rank(), ranks.size(), ranks.name()), ranks_(ranks), bad_(bad) {}
  std::string_view backend() const override { return ranks_.backend(); }
  std::vector<int> world_ranks() const override { return ranks_.world_ranks(); }
  void abort(std::string_view reason, ExitCode code) noexcept override { ranks_.abort(reason, code); }

 private:
  void run(Stream& stream, CommCall call) override {
    if (call.kind == CommKind::all_gather) return ranks_.all_gather(stream, call.in, call.out);
    if (call.kind == CommKind::barrier) return ranks_.barrier(stream);
    ASSERT_EQ(call.kind, CommKind::all_reduce);
    ranks_.all_reduce(stream, call.out, call.op);
    if (rank() == bad_ && call.out.dtype() == DType::f32 && call.out.numel() > 100)
      call.out.data<float>()[77] += 1;
  }
  WorkPtr start(Stream&, CommCall) override { return nullptr; }
  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    return ranks_.split(color, key, std::move(name));
  }

  Communicator& ranks_;
  int bad_;
};

TEST(DoctorTraffic, ACorruptedAllReduceIsFoundAndItsRankNamed) {
  for (const int bad : {-1, 0, 2}) {
    std::vector<AxisFacts> axes;
    run_thread_ranks(3, [&](Communicator& world) {
      Context ctx;
      Corrupting ranks(world, bad);
      const std::vector<int> members = {0, 1, 3};
      const auto found = measure_axis(ctx, ranks, 4096, members);
      if (world.rank() == 0) axes = found;
      EXPECT_EQ(found.size(), world.rank() == 0);
    });
    ASSERT_EQ(axes.size(), 1);
    EXPECT_EQ(axes[0].num_wrong, bad >= 0);
    EXPECT_EQ(axes[0].bytes, 4096 / 12 * 12);
    EXPECT_GT(axes[0].bus_bandwidth, 0);
    const Findings findings = judge_axes(test::healthy_ranks(2), axes);
    EXPECT_EQ(worst_of(findings), bad >= 0 ? Verdict::fail : Verdict::ok);
    if (bad >= 0) {
      EXPECT_THAT(findings[0].text, HasSubstr(bad == 2 ? "rank 3 (h2)" : "rank 0 (h1)"));
    }
  }
}

TEST(DoctorTraffic, EachAxisOfALayoutIsReducedOnce) {
  std::multiset<std::string> groups;
  ParallelPlan plan;
  plan.data = 2;
  plan.tensor = 2;
  run_thread_ranks(4, [&](Communicator& world) {
    Context ctx;
    CheckTimer timer(world, {.check = 300});
    const std::vector<AxisFacts> axes = measure_axes(ctx, world, plan, 1024, timer);
    if (world.rank() != 3) return;
    for (const AxisFacts& axis : axes)
      groups.insert(fmt::format("{} {}", axis.axis, fmt::join(axis.ranks, ",")));
  });
  EXPECT_THAT(groups, ElementsAre("data 0,2", "data 1,3", "tensor 0,1", "tensor 2,3", "world 0,1,2,3"));
}

TEST(DoctorTraffic, EveryPairOfHostsMeetsOnce) {
  for (int num = 0; num < 12; ++num) {
    std::set<std::pair<int, int>> met;
    for (const auto& round : rounds_of_pairs(num)) {
      std::set<int> busy;
      for (const auto& [a, b] : round) {
        EXPECT_LT(a, b);
        EXPECT_LT(b, num);
        EXPECT_TRUE(busy.insert(a).second && busy.insert(b).second) << "twice in a round";
        EXPECT_TRUE(met.emplace(a, b).second) << "met before";
      }
    }
    EXPECT_EQ(met.size(), num < 2 ? 0 : num * (num - 1) / 2) << num;
  }
}

TEST(DoctorTraffic, LinksClocksAndTexts) {
  run_thread_ranks(5, [](Communicator& world) {
    const std::vector<int> firsts = {0, 2, 3};
    const auto links = measure_links(world, firsts, 8192, 15);
    ASSERT_EQ(links.size(), 3);
    for (const LinkFacts& link : links) {
      EXPECT_GT(link.bandwidth, 0);
      EXPECT_GT(link.latency, 0);
      EXPECT_EQ(link.num_wrong, 0);
    }
    EXPECT_EQ(measure_links(world, firsts, 8192, 1).size(), 1) << "three hosts, one pair a round";
    const auto clocks = measure_clocks(world, firsts);
    EXPECT_EQ(clocks.size(), world.rank() == 0 ? 2 : 0);
    for (const ClockFacts& clock : clocks)
      EXPECT_LE(std::abs(clock.offset), clock.bound + 1e-3) << "it is one clock";
    const std::string mine(static_cast<size_t>(world.rank()), 'x');
    EXPECT_THAT(gather_texts(world, mine), ElementsAre("", "x", "xx", "xxx", "xxxx"));
  });
}

TEST(DoctorTraffic, ADirectoryThatOnlyRank0Has) {
  const test::TemporaryFolder shared, own;
  run_thread_ranks(3, [&](Communicator& world) {
    const std::vector<int> firsts = {0, 1, 2};
    EXPECT_TRUE(look_for_shared(world, firsts, shared.path()).missing.empty());
    const SharedFacts facts = look_for_shared(world, firsts, world.rank() == 2 ? own.path() : shared.path());
    EXPECT_THAT(facts.missing, ElementsAre(2));
  });
  EXPECT_TRUE(shared.names().empty()) << "something was left";
}

TEST(DoctorReport, RanksAsThreadsAreExaminedAndReported) {
  const test::TemporaryFolder folder;
  run_thread_ranks(2, [&](Communicator& world) {
    DoctorOptions options;
    options.plan.data = 2;
    options.directory = options.temporary = folder.path();
    options.disk_bytes = 1 << 20;
    options.traffic_bytes = 1024;
    options.seconds = 300;
    options.run.device = DeviceKind::cpu;
    DoctorPlace place = place_by_environment();
    place.host = "here";
    place.local_rank = world.rank();
    place.local_size = 2;
    place.build = {{"program", world.rank() == 1 ? "planted" : "right"}};
    const Examination found = examine(world, place, options);
    EXPECT_EQ(found.verdict(), Verdict::fail) << "on every rank";
    if (world.rank() != 0) return;
    const std::string table = doctor_table(found);
    EXPECT_THAT(table, HasSubstr("program: right on rank 0 (here); planted on rank 1 (here)"));
    for (const std::string_view check : check_names())
      EXPECT_THAT(table, HasSubstr(std::string(check) + " "));
    const auto json = nlohmann::json::parse(doctor_json(found, "trireme"));
    EXPECT_EQ(json["version"], 1);
    EXPECT_EQ(json["verdict"], "FAIL");
    EXPECT_EQ(json["ranks"].size(), 2);
    EXPECT_EQ(json["ranks"][1]["build"]["program"], "planted");
    EXPECT_EQ(json["axes"][0]["num_wrong"], 0);
    EXPECT_GT(json["ranks"][0]["disks"][0]["write_rate"], 0);
  });
}

}  // namespace
}  // namespace trireme::launch
