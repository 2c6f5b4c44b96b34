// What a recorder holds, as a file.
#include "runtime/comm/record/history_json.h"

#include <chrono>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme {
namespace {

using nlohmann::json;

int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(HistoryJson, HasTheFieldsOfAFlightRecorder) {
  Recorder recorder;
  const int64_t begin = wall_ns();
  recorder.set_step(3);
  recorder.enter(Phase::backward);
  const auto ring = recorder.make_ring({"data", "nccl", 0xab, {1, 5}, 1});
  CallRecord reduction{.kind = CommKind::all_reduce, .dtype = DType::bf16, .count = 12};
  reduction.site = {Phase::backward, 3, 0, 11};
  reduction.enqueued_ns = steady_ns();
  const RecordedCall done(ring, reduction), begun(ring, reduction), waits(ring, reduction);
  CallRecord message{.kind = CommKind::send, .count = 4, .peer = 0, .label = "gradient 0.1"};
  message.enqueued_ns = steady_ns();
  const RecordedCall sent(ring, message);
  done.end();
  begun.start();

  const json dump = json::parse(history_json(recorder).dump());
  EXPECT_EQ(dump["phase"], "backward");
  EXPECT_EQ(dump["step"], 3);
  EXPECT_EQ(dump["layer"], -1);
  const std::string id = "00000000000000ab";
  EXPECT_EQ(dump["pg_config"][id]["name"], "data");
  EXPECT_EQ(dump["pg_config"][id]["ranks"], json({1, 5}));
  EXPECT_EQ(dump["pg_status"][id]["last_enqueued_collective"], 2);
  EXPECT_EQ(dump["pg_status"][id]["last_started_collective"], 1);
  EXPECT_EQ(dump["pg_status"][id]["last_completed_collective"], 0);

  ASSERT_EQ(dump["entries"].size(), 4u);
  const json& first = dump["entries"][0];
  EXPECT_EQ(first["pg_id"], id);
  EXPECT_EQ(first["profiling_name"], "nccl:all_reduce");
  EXPECT_EQ(first["collective_seq_id"], 0);
  EXPECT_EQ(first["reduce_op"], "sum");
  EXPECT_EQ(first["input_sizes"], json::parse("[[12]]"));
  EXPECT_EQ(first["input_dtypes"], json({"bf16"}));
  EXPECT_EQ(first["state"], "completed");
  EXPECT_EQ(first["layer"], 11);
  EXPECT_EQ(first["micro_batch"], 0);
  constexpr int64_t kSecond = 1'000'000'000;  // the two clocks are read one after the other
  EXPECT_GT(first["time_created_ns"].get<int64_t>(), begin - kSecond);
  EXPECT_LT(first["time_created_ns"].get<int64_t>(), wall_ns() + kSecond);
  EXPECT_GE(first["time_discovered_completed_ns"], first["time_created_ns"]);
  EXPECT_EQ(dump["entries"][1]["state"], "started");
  EXPECT_TRUE(dump["entries"][1]["time_discovered_completed_ns"].is_null());
  EXPECT_EQ(dump["entries"][2]["state"], "scheduled");

  const json& last = dump["entries"][3];
  EXPECT_TRUE(last["is_p2p"]);
  EXPECT_EQ(last["p2p_seq_id"], 0);
  EXPECT_EQ(last["profiling_name"], "nccl:send 1->0");
  EXPECT_EQ(last["label"], "gradient 0.1");
}

}  // namespace
}  // namespace trireme
