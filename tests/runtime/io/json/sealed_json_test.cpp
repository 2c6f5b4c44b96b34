#include "runtime/io/json/sealed_json.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using nlohmann::json;

TEST(SealedJson, ComesBackAndIsJsonAsAWhole) {
  const json object = {{"step", 7}, {"name", "a\nb"}, {"list", {1.5, -2, "x"}}, {"xyz", json::object()}};
  const std::string text = seal_json(object);
  EXPECT_EQ(open_sealed_json(text, "file"), object);
  json plain = json::parse(text);
  EXPECT_EQ(plain.erase("xxh3"), 1u);
  EXPECT_EQ(plain, object);
}

TEST(SealedJson, EveryBitCounts) {
  const std::string text = seal_json({{"step", 7}, {"a", "b"}});
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    test::expect_error(ExitCode::checkpoint, {"the/file"}, [&] { open_sealed_json(changed, "the/file"); });
  }
  for (size_t size = 0; size < text.size(); ++size)
    test::expect_error(ExitCode::checkpoint, {"the/file"},
                       [&] { open_sealed_json(text.substr(0, size), "the/file"); });
  test::expect_error(ExitCode::checkpoint, {"is damaged"}, [&] { open_sealed_json(text + " ", "the/file"); });
}

}  // namespace
}  // namespace trireme
