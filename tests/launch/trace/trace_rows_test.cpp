// Slices of steps, phases and layers, rows of calls, and arrows between them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/trace/call_lanes.h"
#include "launch/trace/site_rows.h"
#include "launch/trace/trace_flows.h"

namespace trireme::test {
namespace {

using namespace launch;

using testing::ElementsAre;

/// "step 1 [10,40]" of each slice.
std::vector<std::string> slices_of(const RankTraceData& data) {
  std::vector<std::string> all;
  for (const TraceSlice& s : data.slices)
    all.push_back(fmt::format("{} [{},{}]", data.names[static_cast<size_t>(s.name)].name, s.begin_ns,
                              s.begin_ns + s.ns));
  return all;
}

struct Sites {
  RankTraceData data;
  SiteRows rows{data, [this](TraceName name) {
                  data.names.push_back(std::move(name));
                  return static_cast<int32_t>(data.names.size() - 1);
                }};
};

TEST(TraceRows, LayersLieInPhasesAndPhasesInSteps) {
  Sites sites;
  sites.rows.enter(10, {Phase::data, 1, -1, -1});
  sites.rows.enter(12, {Phase::forward, 1, -1, -1});
  sites.rows.enter(12, {Phase::forward, 1, 0, -1});
  sites.rows.enter(13, {Phase::forward, 1, 0, 5});
  sites.rows.enter(17, {Phase::forward, 1, 0, -1});
  sites.rows.enter(18, {Phase::backward, 1, 0, 5});
  sites.rows.enter(20, {Phase::data, 2, -1, -1});
  sites.rows.finish(25, false);
  EXPECT_THAT(slices_of(sites.data), ElementsAre("data [10,12]", "forward [12,12]", "layer 5 [13,17]",
                                                 "forward 0 [12,18]", "layer 5 [18,20]", "backward 0 [18,20]",
                                                 "step 1 [10,20]", "data [20,25]", "step 2 [20,25]"));
  ASSERT_EQ(sites.data.steps.size(), 1) << "the second was not over";
  EXPECT_EQ(sites.data.steps[0].end_ns, 20);
}

TEST(TraceRows, TimeDoesNotGoBack) {
  Sites sites;
  sites.rows.enter(10, {Phase::data, 1, -1, -1});
  sites.rows.enter(8, {Phase::forward, 1, -1, -1});
  sites.rows.finish(0, true);
  EXPECT_THAT(slices_of(sites.data), ElementsAre("data [10,10]", "forward [10,10]", "step 1 [10,10]"));
  EXPECT_EQ(sites.data.steps.size(), 1);
}

CallRecord call(int64_t begin, int64_t end) {
  return {.enqueued_ns = begin, .started_ns = begin, .ended_ns = end};
}

TEST(TraceRows, CallsThatOverlapHaveRowsOfTheirOwn) {
  RankTraceData data;
  CallLanes lanes(data);
  const RecordedGroup group{"tensor", "self", 1, {0, 1}, 0}, other{"data", "self", 2, {0, 1}, 0};
  lanes.add(group, {call(5, 9), call(1, 5), call(2, 3)});
  lanes.add(other, {call(1, 2)});
  lanes.add(group, {call(4, 12)});  // comes late
  std::vector<std::tuple<int64_t, int32_t>> rows;
  for (const TracedCall& traced : data.calls) rows.emplace_back(traced.call.started_ns, traced.row);
  EXPECT_THAT(rows, ElementsAre(std::tuple(1, 3), std::tuple(2, 4), std::tuple(5, 3), std::tuple(1, 5),
                                std::tuple(4, 4)));
  ASSERT_EQ(data.rows.size(), 3);
  EXPECT_EQ(data.rows[1].lane, 1);
  EXPECT_EQ(data.rows[2].group, 1);
}

FlowEnd member(int rank, int64_t begin, int64_t end, CommKind kind = CommKind::all_reduce, int size = 3) {
  FlowEnd flow;
  flow.group = 7, flow.begin_ns = begin, flow.end_ns = end, flow.kind = kind;
  flow.rank = 10 + rank, flow.rank_in_group = rank, flow.group_size = size, flow.is_over = 1;
  return flow;
}

FlowEnd message(CommKind kind, int from, int to, int64_t begin, int64_t end) {
  FlowEnd flow = member(kind == CommKind::send ? from : to, begin, end, kind);
  flow.from = from, flow.to = to;
  return flow;
}

std::vector<std::string> arrows(std::vector<FlowEnd> ends, int64_t expected_backwards = 0) {
  int64_t num_backwards = 0;
  std::vector<std::string> all;
  for (const Flow& flow : match_flows(std::move(ends), num_backwards))
    all.push_back(fmt::format("{}@{} {}@{}", flow.from_rank, flow.from_ns, flow.to_rank, flow.to_ns));
  EXPECT_EQ(num_backwards, expected_backwards);
  return all;
}

TEST(TraceFlows, LeadFromWhoComesLast) {
  EXPECT_THAT(arrows({member(0, 5, 20), member(1, 12, 21), member(2, 1, 19)}),
              ElementsAre("11@12 10@19", "11@12 12@18"));
  EXPECT_THAT(arrows({member(0, 5, 20), member(1, 12, 21)}), ElementsAre()) << "one of three is not there";
}

TEST(TraceFlows, OfABroadcastFromItsRoot) {
  std::vector<FlowEnd> ends;
  for (const FlowEnd& end :
       {member(0, 5, 6, CommKind::broadcast, 2), member(1, 9, 12, CommKind::broadcast, 2)}) {
    ends.push_back(end);
    ends.back().root = 0;
  }
  EXPECT_THAT(arrows(ends), ElementsAre("10@5 11@11"));
}

TEST(TraceFlows, OfMessagesFromSendToReceive) {
  FlowEnd second = message(CommKind::receive, 0, 1, 30, 40);
  second.sequence = 1;
  EXPECT_THAT(arrows({message(CommKind::receive, 0, 1, 1, 9), second, message(CommKind::send, 0, 1, 4, 8),
                      message(CommKind::send, 1, 0, 2, 3)}),
              ElementsAre("10@4 11@8"))
      << "the others' other ends are not there";
}

TEST(TraceFlows, NoneLeadsBackInTime) {
  EXPECT_THAT(arrows({message(CommKind::receive, 0, 1, 1, 9), message(CommKind::send, 0, 1, 10, 11)}, 1),
              ElementsAre());
  FlowEnd open = message(CommKind::receive, 0, 1, 1, 1);
  open.is_over = 0;
  EXPECT_THAT(arrows({open, message(CommKind::send, 0, 1, 10, 11)}), ElementsAre()) << "not received yet";
}

}  // namespace
}  // namespace trireme::test
