#include "launch/report/visible_text.h"

#include <string>

#include <gmock/gmock.h>

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(VisibleText, ShowsWhatWouldMoveATerminal) {
  EXPECT_EQ(visible("plain\ttext\n"), "plain\ttext\n");
  EXPECT_EQ(visible("\x1b[31mred\a\r"), "\\x1b[31mred\\x07\\x0d");
  EXPECT_EQ(visible(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(visible("\x7f"), "\\x7f");
  EXPECT_EQ(visible("\u0085\u009b"), "\\x85\\x9b");  // C1 controls
  EXPECT_EQ(visible("h\u00e9 \u2192 \U0001F600"), "h\u00e9 \u2192 \U0001F600");
}

TEST(VisibleText, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(visible("a\xff\xfe z"), "a\\xff\\xfe z");
  EXPECT_EQ(visible("cut \xe2\x86"), "cut \\xe2\\x86");
  EXPECT_EQ(visible("\xc0\xaf"), "\\xc0\\xaf");
}

TEST(VisibleText, LongLinesOfMessagesAreCut) {
  const std::string message = "begin\n" + std::string(100'000, 'x') + "y\nend";
  const std::string shown = visible_message(message);
  EXPECT_LT(shown.size(), 1000u);
  EXPECT_THAT(shown,
              AllOf(StartsWith("begin\nxxx"), HasSubstr("[... 99251 bytes ...]"), EndsWith("xy\nend")));
  EXPECT_EQ(visible_message(std::string(1000, 'x')), std::string(1000, 'x'));
  std::string umlauts;
  for (int i = 0; i < 1000; ++i) umlauts += "\u00fc";
  EXPECT_EQ(visible_message("x" + umlauts).find("\\x"), std::string::npos);  // no character is cut in two
}

}  // namespace
}  // namespace trireme::launch
