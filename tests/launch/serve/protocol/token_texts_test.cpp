#include "launch/serve/protocol/token_texts.h"

#include <random>

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokenizer/char_tokenizer.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/folders.h"

namespace trireme::launch {
namespace {

using nlohmann::json;

TEST(TokenTexts, AreBytesOfByteAndCharTokenizers) {
  const auto bytes = token_texts(ByteTokenizer(), 300);
  ASSERT_EQ(bytes.size(), 300);
  EXPECT_EQ(bytes['a'], "a");
  EXPECT_EQ(bytes[0xC3], "\xC3");
  EXPECT_EQ(bytes[256], "");
  EXPECT_EQ(bytes[299], "");
  EXPECT_EQ(token_texts(CharTokenizer({U'a', U'\u4e16'}), 2), (std::vector<std::string>{"a", "\u4e16"}));
}

/// What TextStream writes for `ids` behind `first`, without what it writes for that.
std::string streamed(const Tokenizer& tokenizer, int32_t first, const std::vector<int32_t>& ids) {
  TextStream stream(tokenizer, SpecialTokens::skip);
  std::string text = stream.push(first);
  for (const int32_t id : ids) text += stream.push(id);
  text += stream.finish();
  return text.substr(tokenizer.decode(std::vector{first}, SpecialTokens::skip).size());
}

// Tokenizers of every step: texts put together are what the stream writes, where that is UTF-8; or the
// tokenizer is refused.
TEST(TokenTexts, AddUpToWhatTheStreamWrites) {
  std::mt19937 random(5);
  int taken = 0, compared = 0;
  for (const json& entry :
       read_json_file(fmt::format("{}/tests/golden/tokenizer/steps.json", test::source_folder()))) {
    const std::string bytes = entry.contains("json")
                                  ? entry["json"].dump()
                                  : decode_base64(entry["model"].get<std::string>()).value();
    const auto tokenizer = read_tokenizer(bytes, entry["name"].get<std::string>());
    SCOPED_TRACE(entry["name"]);
    std::vector<std::string> texts;
    try {
      texts = token_texts(*tokenizer, tokenizer->vocab_size());
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input);
      EXPECT_NE(std::string_view(error.what()).find("structured output"), std::string_view::npos);
      continue;
    }
    ++taken;
    std::optional<int32_t> first;
    for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
      const auto& text = texts[static_cast<size_t>(id)];
      EXPECT_TRUE(!tokenizer->is_special(id) || text.empty());
      if (!first && !text.empty() && text.back() >= 'a' && text.back() <= 'z') first = id;
    }
    for (int i = 0; i < 300; ++i) {
      std::vector<int32_t> ids;
      std::string expected;
      for (int n = 0; n < 5; ++n) {
        ids.push_back(std::uniform_int_distribution<int32_t>(
            0, static_cast<int32_t>(tokenizer->vocab_size()) - 1)(random));
        expected += texts[static_cast<size_t>(ids.back())];
      }
      if (find_utf8_error(expected)) continue;
      ++compared;
      EXPECT_EQ(streamed(*tokenizer, *first, ids), expected);
    }
  }
  EXPECT_GT(taken, 5);
  EXPECT_GT(compared, 500);
}

}  // namespace
}  // namespace trireme::launch
