#include "launch/report/files/continue_records.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/report/files/run_event.h"
#include "launch/report/files/tensorboard_event.h"
#include "launch/report/files/tfrecord.h"
#include "runtime/io/files/file.h"

#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

class ContinueRecords : public testing::Test {
 protected:
  fs::path put(const std::string& name, const std::string& bytes) const {
    const fs::path path = fs::path(folder_.path()) / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  test::TemporaryFolder folder_;
};

std::string event(int64_t step) {
  const Scalar scalar{"loss", static_cast<float>(step)};
  return tfrecord(scalar_event(1.5, step, {&scalar, 1}));
}

TEST_F(ContinueRecords, LinesOfLaterStepsAndHalfALineGo) {
  const std::string kept = "{\"step\":0,\"val_loss\":3}\n{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":1}\n";
  const fs::path metrics = put("metrics.jsonl", kept + "{\"step\":3,\"loss\":0}\n{\"step\":4,\"lo");
  keep_records_up_to(metrics, 2);
  EXPECT_EQ(read_text_file(metrics.string()), kept);
  keep_records_up_to(metrics, -1);
  EXPECT_EQ(read_text_file(metrics.string()), "");
  keep_records_up_to(fs::path(folder_.path()) / "none", 2);
  EXPECT_FALSE(fs::exists(fs::path(folder_.path()) / "none"));
}

TEST_F(ContinueRecords, WhatBelongsToAnAttemptStaysWhateverBecomesOfItsSteps) {
  const auto line = [](int64_t step, EventKind kind) {
    return to_json_line(RunEvent{1.5, step, kind, "</script> \xff", std::nullopt}) + "\n";
  };
  const std::string kept = line(0, EventKind::start) + line(10, EventKind::checkpoint) +
                           line(10, EventKind::evaluation),
                    later = line(12, EventKind::straggler) + line(12, EventKind::warning) +
                            line(13, EventKind::stop);
  const fs::path events =
      put("events.jsonl", kept + line(11, EventKind::skip) + line(12, EventKind::checkpoint) + later +
                              line(13, EventKind::sample) + line(13, EventKind::evaluation) + "{\"step\":1");
  keep_happenings_up_to(events, 10);
  EXPECT_EQ(read_text_file(events.string()), kept + later);
  keep_happenings_up_to(fs::path(folder_.path()) / "none", 2);
  EXPECT_FALSE(fs::exists(fs::path(folder_.path()) / "none"));
}

TEST_F(ContinueRecords, EventsOfLaterStepsGoFromAllAttempts) {
  const std::string first = tfrecord(first_event(1));
  const fs::path a = put("events.out.tfevents.1.host",
                         first + event(1) + event(200) + event(300).substr(0, 20)),
                 b = put("events.out.tfevents.2.host", first + event(129) + event(130)),
                 other = put("log.txt", "x");
  keep_events_up_to(folder_.path(), 129);
  EXPECT_EQ(read_text_file(a.string()), first + event(1));
  EXPECT_EQ(read_text_file(b.string()), first + event(129));
  EXPECT_EQ(read_text_file(other.string()), "x");
}

TEST_F(ContinueRecords, EveryConfigStays) {
  for (const char* text : {"one", "two", "three"}) {
    number_config(folder_.path());
    put("config.ini", text);
  }
  EXPECT_EQ(read_text_file(folder_.path() + "/config.1.ini"), "one");
  EXPECT_EQ(read_text_file(folder_.path() + "/config.2.ini"), "two");
  EXPECT_EQ(read_text_file(folder_.path() + "/config.ini"), "three");
}

}  // namespace
}  // namespace trireme::launch
