// JSON whose text goes on behind what the parser takes as its end.
#include "runtime/io/json/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/io/json/strict_json.h"

namespace trireme {
namespace {

template <class Parse>
std::string refusal_of(Parse&& parse) {
  try {
    parse();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
  return "none";
}

TEST(JsonText, WithAZeroByteIsRefusedWithThePlace) {
  using ::testing::HasSubstr;
  const std::string behind("{\"a\":1}\0garbage", 15), within("{\"a\":\0 1}", 9), last("{}\0", 3);
  EXPECT_THAT(refusal_of([&] { parse_json(behind, "a.json"); }),
              HasSubstr("a.json is not JSON at byte 8 of 15"));
  EXPECT_THAT(refusal_of([&] { parse_json(within, "a.json"); }), HasSubstr("byte 6 of 9"));
  EXPECT_THAT(refusal_of([&] { parse_json(last, "a.json"); }), HasSubstr("byte 3 of 3"));
  EXPECT_THAT(refusal_of([&] { parse_strict_json(behind, 4, "b"); }), HasSubstr("byte 7 is zero"));
  EXPECT_THAT(refusal_of([&] { parse_strict_json(last, 4, "b"); }), HasSubstr("byte 2 is zero"));
  const std::string escaped = R"({"a":"\u0000"})";
  EXPECT_EQ(parse_json(escaped, "a.json")["a"], std::string(1, '\0')) << "which a string may have";
  EXPECT_EQ(parse_strict_json(escaped, 4, "b")["a"], std::string(1, '\0'));
}

}  // namespace
}  // namespace trireme
