#include "runtime/io/json/utf8.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace trireme {
namespace {

TEST(Utf8, EveryCodePointSurvives) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_FALSE(find_utf8_error(text)) << static_cast<uint32_t>(c);
    size_t position = 0;
    ASSERT_EQ(next_code_point(text, position), c);
    ASSERT_EQ(position, text.size());
  }
}

TEST(Utf8, FindsTheFirstBadByte) {
  using namespace std::string_literals;
  const std::pair<std::string, uint8_t> bad[] = {
      {"\x80", 0x80},
      {"\xbf", 0xbf},
      {"\xc0\x80", 0xc0},
      {"\xc1\xbf", 0xc1},
      {"\xc3", 0xc3},
      {"\xc3(", 0xc3},
      {"\xe0\x9f\xbf", 0xe0},
      {"\xed\xa0\x80", 0xed},
      {"\xe2\x82", 0xe2},
      {"\xe2\x82(", 0xe2},
      {"\xf0\x8f\xbf\xbf"s, 0xf0},
      {"\xf4\x90\x80\x80", 0xf4},
      {"\xf5\x80\x80\x80", 0xf5},
      {"\xff", 0xff},
      {"\xf0\x9f\x9a", 0xf0},
      {"\xf0\x9f\x9a(", 0xf0},
  };
  for (const auto& [bytes, value] : bad) {
    // At every distance from the eight-byte steps, with and without text behind.
    for (size_t before = 0; before < 20; ++before) {
      for (const std::string after : {"", "more text behind it"}) {
        const auto fault = find_utf8_error(std::string(before, 'a') + bytes + after);
        ASSERT_TRUE(fault);
        EXPECT_EQ(fault->offset, before);
        EXPECT_EQ(fault->byte, value);
      }
    }
  }
}

TEST(Utf8, TheMessageNamesFileOffsetAndByte) {
  test::expect_error(ExitCode::bad_input, {"book.txt", "0xFE", "offset 1003"}, [] {
    check_utf8("abc\xfe", {"book.txt", 1000});
  });
}

}  // namespace
}  // namespace trireme
