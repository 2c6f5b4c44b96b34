#include "launch/commands/schedule_command.h"

#include <gmock/gmock.h>

#include "launch/commands/commands.h"
#include "launch/commands/schedule_drawing.h"
#include "parallel/pipeline/schedule_file.h"
#include "runtime/io/files/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/printed.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::HasSubstr;
using testing::Not;

std::string printed(const ScheduleOptions& options) {
  return test::printed([&](std::FILE* out) { run_schedule_command(options, out); });
}

void run(const std::vector<std::string>& args) { run_schedule(args, {}); }

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(ScheduleCommand, DrawsARowAStage) {
  const Schedule schedule = make_schedule(ScheduleKind::one_f_one_b, 2, 2);
  EXPECT_EQ(timeline_text(schedule, simulate(schedule)),
            "stage 0 F0 F1       B0---    B1---\nstage 1    F0 B0--- F1 B1---\n");
}

TEST(ScheduleCommand, SaysBubblePeaksAndProof) {
  ScheduleOptions options;
  const std::string said = printed(options);
  EXPECT_THAT(said, HasSubstr("1f1b: 4 stages, 8 micro-batches"));
  EXPECT_THAT(said, HasSubstr("bubble   27.3 % of 33 time units"));
  EXPECT_THAT(said, HasSubstr("      0    27.3 %                 4\n"));
  EXPECT_THAT(said, HasSubstr("checked  complete"));
  EXPECT_THAT(said, Not(HasSubstr("receive activation")));
  options.list = true;
  EXPECT_THAT(printed(options), HasSubstr("      1  send activation 0 to stage 1\n"));
}

TEST(ScheduleCommand, LongTimelinesAreBrokenIntoBands) {
  ScheduleOptions options;
  options.num_micro_batches = 32;
  const std::string said = printed(options);
  EXPECT_GT(count(said, "from time"), 1U);
  for (size_t at = 0; at < said.size(); at = said.find('\n', at) + 1)
    EXPECT_LE(said.find('\n', at) - at, 120U);
}

TEST(ScheduleCommand, TheSvgHasEveryComputation) {
  const TemporaryFolder folder;
  ScheduleOptions options;
  options.kind = ScheduleKind::interleaved;
  options.num_chunks = 2;
  options.svg = folder.path("out.svg");
  EXPECT_THAT(printed(options), HasSubstr(options.svg));
  const std::string svg = read_text_file(options.svg);
  EXPECT_THAT(svg, testing::StartsWith("<svg xmlns"));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
  EXPECT_EQ(count(svg, "<title>"), 4U * 8 * 2 * 2);
  EXPECT_EQ(count(svg, "<title>"), count(svg, "</title></rect>"));
  EXPECT_THAT(svg, HasSubstr("lighter: later chunks"));
}

TEST(ScheduleCommand, AWrittenScheduleIsReadAgain) {
  const TemporaryFolder folder;
  ScheduleOptions options;
  options.kind = ScheduleKind::zb_h1;
  options.write = folder.path("s.txt");
  printed(options);
  ScheduleOptions again;
  again.file = options.write;
  const std::string said = printed(again);
  EXPECT_THAT(said, HasSubstr("file: 4 stages, 8 micro-batches"));
  EXPECT_THAT(said, HasSubstr("bubble   11.1 % of 27 time units"));
}

TEST(ScheduleCommand, AFileThatCannotRunIsRefusedWithItsFaults) {
  const TemporaryFolder folder;
  ScheduleOptions options;
  options.file = folder.write("s.txt", "F0 F1 B0 B1\nF0 B0 F1\n");
  expect_error(ExitCode::bad_input, {options.file, "3 errors", "stage 1 lacks B1", "stage 0, action 6"},
               [&] { printed(options); });
}

TEST(ScheduleCommand, WrongArgumentsNameWhatWouldWork) {
  expect_error(ExitCode::usage, {"'1f1d'", "did you mean 1f1b?"}, [] { run({"--kind", "1f1d"}); });
  expect_error(ExitCode::usage, {"--micro-batchs", "did you mean --micro-batches?"}, [] {
    run({"--micro-batchs", "8"});
  });
  expect_error(ExitCode::usage, {"--pp is '0'", "from 1 to"}, [] { run({"--pp", "0"}); });
  expect_error(ExitCode::usage, {"--virtual-stages 2", "interleaved"}, [] {
    run({"--virtual-stages", "2"});
  });
  expect_error(ExitCode::usage, {"--pp has no effect with --file"}, [] {
    run({"--pp=2", "--file", "s.txt"});
  });
  expect_error(ExitCode::usage, {"unexpected argument 's.txt'"}, [] { run({"s.txt"}); });
  expect_error(ExitCode::usage, {"--list takes no value", "'yes'"}, [] { run({"--list=yes"}); });
  expect_error(ExitCode::usage, {"--pp 4096 x --micro-batches 4096"}, [] {
    run({"--pp", "4096", "--micro-batches", "4096"});
  });
  for (const char* costs : {"1,1", "1,1,1,1,1", "1,x,1", "0,1,1", "1,1,-1", "1,1,", "nan,1,1", ""})
    expect_error(ExitCode::usage, {"--costs", "LATENCY"}, [&] { run({"--costs", costs}); });
  expect_error(ExitCode::bad_input, {"/no/such"}, [] { run({"--file", "/no/such"}); });
}

}  // namespace
}  // namespace trireme::launch
