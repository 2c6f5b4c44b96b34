#include "launch/cli/ini_file.h"

#include <gmock/gmock.h>

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(IniFile, SectionsKeysCommentsAndQuotes) {
  const Settings settings = parse_ini(
      "\xEF\xBB\xBF; top\r\n[ a ]\r\nx = 1 # one\r\ny=\n [b] # b\nz = \"q # \\\"\\n\\x41\" ; end\nw = a#b",
      "f");
  EXPECT_THAT(settings.errors, IsEmpty());
  ASSERT_EQ(settings.list.size(), 4u);
  EXPECT_EQ(settings.list[0].key, "a.x");
  EXPECT_EQ(settings.list[0].text, "1");
  EXPECT_EQ(settings.list[0].where, "f:3");
  EXPECT_EQ(settings.list[1].text, "");
  EXPECT_EQ(settings.list[2].key, "b.z");
  EXPECT_EQ(settings.list[2].text, "q # \"\nA");
  EXPECT_EQ(settings.list[3].text, "a#b");
}

TEST(IniFile, FaultsCarryTheirLine) {
  EXPECT_THAT(
      parse_ini("[a\nx\n[b]\nk = 1\nk = 2\nq = \"open\nr = \"a\" b\ns = \"\\q\"\nt = \"\\x4\"", "f").errors,
      ElementsAre(HasSubstr("f:1: '[a' is not a section"), HasSubstr("f:2: 'x' is neither"),
                  HasSubstr("f:5: b.k was already given on line 4"), HasSubstr("f:6: b.q"),
                  HasSubstr("f:7: b.r"), HasSubstr("f:8: b.s"), HasSubstr("f:9: b.t")));
}

TEST(IniFile, AnyTextSurvivesQuoting) {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  for (const std::string& text : {every_byte, std::string(" a "), std::string("a # b"), std::string("\""),
                                  std::string(), std::string("plain"), std::string("\\n")}) {
    const Settings settings = parse_ini("k = " + quote_ini(text) + "\n", "f");
    ASSERT_THAT(settings.errors, IsEmpty());
    EXPECT_EQ(settings.list.at(0).text, text);
  }
  EXPECT_EQ(quote_ini("runs/a b"), "runs/a b");
}

}  // namespace
}  // namespace trireme::launch
