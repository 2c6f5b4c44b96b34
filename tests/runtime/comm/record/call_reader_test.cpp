#include "runtime/comm/record/call_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::test {
namespace {

std::vector<int64_t> taken(CallReader& reader, bool all = false) {
  std::vector<int64_t> counts;
  reader.take([&](const RecordedGroup&, const CallRecord& call) { counts.push_back(call.count); }, all);
  return counts;
}

class CallReaderTest : public testing::Test {
 protected:
  RecordedCall call(int64_t count) {
    return {ring_, CallRecord{.kind = CommKind::all_reduce, .count = count, .enqueued_ns = steady_ns()}};
  }
  void done(int64_t count) { call(count).end(); }

  Recorder recorder_{16};
  std::shared_ptr<CallRing> ring_ = recorder_.make_ring({"data", "self", 1, {0, 1}, 0});
};

TEST_F(CallReaderTest, HasEachCallOnceWhenItIsOver) {
  done(1);
  CallReader reader(recorder_);
  EXPECT_THAT(taken(reader), testing::IsEmpty()) << "from before its time";
  done(2);
  const RecordedCall open = call(3);
  done(4);
  EXPECT_THAT(taken(reader), testing::ElementsAre(2, 4));
  open.end();
  done(5);
  EXPECT_THAT(taken(reader), testing::ElementsAre(3, 5));
  call(6);
  EXPECT_THAT(taken(reader), testing::IsEmpty());
  EXPECT_THAT(taken(reader, true), testing::ElementsAre(6)) << "that is not over";
  EXPECT_EQ(reader.num_lost(), 0);
}

TEST_F(CallReaderTest, SaysWhenItIsTimeAndWhatWasLost) {
  CallReader reader(recorder_);
  for (int i = 0; i < 3; ++i) done(i);
  EXPECT_FALSE(reader.is_filling());
  done(3);
  EXPECT_TRUE(reader.is_filling()) << "a quarter of the ring";
  EXPECT_EQ(taken(reader).size(), 4);
  EXPECT_FALSE(reader.is_filling());
  for (int i = 0; i < 20; ++i) done(i);
  EXPECT_EQ(taken(reader).size(), 16);
  EXPECT_EQ(reader.num_lost(), 4);
}

TEST_F(CallReaderTest, FindsCommunicatorsThatAreMadeLater) {
  CallReader reader(recorder_);
  const auto other = recorder_.make_ring({"tensor", "self", 2, {0, 1}, 0});
  RecordedCall(other, CallRecord{.count = 7, .enqueued_ns = steady_ns()}).end();
  EXPECT_THAT(taken(reader), testing::ElementsAre(7));
}

}  // namespace
}  // namespace trireme::test
