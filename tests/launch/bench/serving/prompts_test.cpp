#include "launch/bench/serving/prompts.h"

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {

namespace {

std::vector<int64_t> ids(const PromptOptions& options, uint64_t index) {
  return nlohmann::json::parse(prompt_json(options, index, options.tokens)).get<std::vector<int64_t>>();
}

TEST(Prompts, IdsAreOfTheUpperHalfAndDiffer) {
  for (const int64_t vocab : {256, 257, 8192}) {
    const PromptOptions options{.tokens = 6, .are_ids = true, .vocab = vocab, .seed = 3};
    std::set<std::vector<int64_t>> all;
    for (uint64_t index = 0; index < 500; ++index) {
      const auto prompt = ids(options, index);
      ASSERT_EQ(prompt.size(), 6u);
      for (const int64_t id : prompt) EXPECT_TRUE(id >= vocab / 2 && id < vocab) << id;
      all.insert(prompt);
    }
    EXPECT_EQ(all.size(), 500u) << vocab;
  }
}

TEST(Prompts, ThePrefixAloneIsShared) {
  const PromptOptions options{.tokens = 40, .shared_prefix = 16, .are_ids = true, .vocab = 50000, .seed = 3};
  const auto a = ids(options, 5), b = ids(options, 6);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 16, b.begin()));
  EXPECT_NE(a[16], b[16]);
  EXPECT_EQ(a, ids(options, 5));
  PromptOptions other = options;
  other.seed = 4;
  EXPECT_NE(a, ids(other, 5));
}

TEST(Prompts, WordsAreOneString) {
  const auto json = nlohmann::json::parse(prompt_json({.tokens = 7}, 1000, 7));
  const auto text = json.get<std::string>();
  EXPECT_EQ(std::count(text.begin(), text.end(), ' '), 6);
  EXPECT_NE(prompt_json({}, 1000, 7), prompt_json({}, 1001, 7));
}

}  // namespace

}  // namespace trireme::launch
