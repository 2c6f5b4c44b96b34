#include "parallel/pipeline/schedule_file.h"

#include <random>

#include <gmock/gmock.h>

#include "parallel/pipeline/check_schedule.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using enum ActionKind;
using testing::IsEmpty;

Schedule parse(const std::string& text) { return parse_schedule(text, "s.txt"); }

TEST(ScheduleFile, EveryKindComesBackAsItWas) {
  const test::TemporaryFolder folder;
  for (const auto& [kind, name] : made_schedule_kinds()) {
    for (const int stages : {1, 2, 5}) {
      const Schedule s = make_schedule(kind, stages, 7, kind == ScheduleKind::interleaved ? 3 : 1);
      write_schedule(s, folder.path("s.txt"));
      const Schedule back = read_schedule(folder.path("s.txt"));
      EXPECT_EQ(back.actions_of_stage, s.actions_of_stage) << name;
      EXPECT_EQ(back.num_micro_batches, 7);
      EXPECT_EQ(back.num_chunks, s.num_chunks);
      EXPECT_EQ(back.kind, ScheduleKind::file);
    }
  }
}

TEST(ScheduleFile, CommentsBlanksAndLineEnds) {
  const Schedule s = parse("# two stages\r\n\r\n  F0\tB0.0 # first\r\nF0 B0");
  EXPECT_EQ(s.num_stages, 2);
  EXPECT_EQ(s.actions_of_stage, make_schedule(ScheduleKind::one_f_one_b, 2, 1).actions_of_stage);
}

TEST(ScheduleFile, WholeAndSplitBackwardsMix) {
  const Schedule s = parse("F0 F1 BW0 B1 W1\n");
  EXPECT_EQ(s.actions_of_stage[0][2].kind, backward);
  EXPECT_EQ(s.actions_of_stage[0][3].kind, backward_input);
  EXPECT_THAT(check_schedule(s), IsEmpty());
  EXPECT_EQ(parse(schedule_text(s)).actions_of_stage, s.actions_of_stage);
}

TEST(ScheduleFile, ErrorsNameFileLineAndToken) {
  for (const char* token :
       {"X0", "F", "F-1", "F-0", "F1.", "F1.x", "f0", "F0x", "F99999999999", "BW", "B+1"}) {
    SCOPED_TRACE(token);
    test::expect_error(ExitCode::bad_input, {"s.txt:3: token 2"},
                       [&] { parse(fmt::format("# c\nF0 B0\nF0 {} B0\n", token)); });
  }
  test::expect_error(ExitCode::bad_input, {"s.txt has no line"}, [] { parse("# nothing\n\n"); });
  test::expect_error(ExitCode::bad_input, {"2000000000", "2 tokens"}, [] { parse("F2000000000 B0"); });
  test::expect_error(ExitCode::bad_input, {"/no/such"}, [] { read_schedule("/no/such"); });
}

// However a file is damaged, it is refused, found faulty, or still a schedule that is proved.
TEST(ScheduleFile, MutatedFiles) {
  std::mt19937 random(7);
  const std::string good = schedule_text(make_schedule(ScheduleKind::zb_h1, 3, 5));
  int num_refused = 0, num_faulty = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text = good;
    for (unsigned n = random() % 3 + 1; n > 0; --n) {
      const size_t place = random() % text.size();
      if (random() % 4 == 0) {
        text.erase(place, random() % 6);
      } else {
        text[place] = "FBW0123456789. \n#-\0x"[random() % 20];
      }
    }
    try {
      const Schedule s = parse(text);
      const auto errors = check_schedule(s);
      num_faulty += errors.empty() ? 0 : 1;
      if (errors.empty()) {
        EXPECT_EQ(parse(schedule_text(s)).actions_of_stage, s.actions_of_stage) << text;
      }
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input);
      ++num_refused;
    }
  }
  EXPECT_GT(num_refused, 100);
  EXPECT_GT(num_faulty, 100);
}

}  // namespace
}  // namespace trireme
