// The text of attention patterns, there and back, and what it refuses.
#include "models/config/attention_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/config/model_config.h"
#include "models/families/family.h"
#include "models/spec/model_spec.h"
#include "runtime/base/error.h"

namespace trireme {
namespace {

using testing::Contains;
using testing::HasSubstr;

TEST(AttentionPattern, TextGoesThereAndBack) {
  const std::string text =
      "full; window=64; window=64 sinks=4; window=8 stride=16/4; stride=16; blocks=64 summary=8 reach=4; "
      "window=64 sinks=2 blocks=16 summary=16 globals=0,100";
  const std::vector<AttentionPattern> patterns = read_attention_patterns(text);
  ASSERT_EQ(patterns.size(), 7u);
  EXPECT_EQ(to_text(patterns), text);
  EXPECT_TRUE(patterns[0].is_full());
  EXPECT_EQ(patterns[2].window, 64);
  EXPECT_EQ(patterns[2].keys.sinks, 4);
  EXPECT_EQ(patterns[3].keys.stride_keys, 4);
  EXPECT_EQ(patterns[4].keys.stride_keys, 0);
  EXPECT_EQ(patterns[5].keys.reach, 4);
  EXPECT_EQ(patterns[6].keys.globals[1], 100);
  EXPECT_EQ(read_attention_patterns("  window=3   sinks=1 ;full"),
            read_attention_patterns("window=3 sinks=1; full"));
  EXPECT_TRUE(read_attention_patterns("").empty());
}

TEST(AttentionPattern, WhatIsWrongIsNamed) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"window=0", {"window=0", "1 or more"}},
           {"window=-3", {"'-3'"}},
           {"window=99999999999999999999", {"99999999999999999999"}},
           {"window=4 window=5", {"twice"}},
           {"windows=4", {"windows=4", "window=N"}},
           {"full window=4", {"full"}},
           {"window=4;;full", {"empty"}},
           {"summary=4", {"blocks=N"}},
           {"blocks=4 summary=5", {"summary", "5", "4"}},
           {"blocks=4 reach=5", {"reach"}},
           {"stride=4/", {"stride=4/"}},
           {"globals=5,5", {"ascend"}},
           {"globals=", {"globals="}},
           {"globals=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", {"at most 16"}},
       }) {
    try {
      read_attention_patterns(text);
      ADD_FAILURE() << text << " was taken";
    } catch (const UserError& error) {
      for (const std::string& word : words) EXPECT_THAT(error.what(), HasSubstr(word)) << text;
    }
  }
}

TEST(AttentionPattern, BlocksHaveThemInTurn) {
  ModelConfig config;
  apply_family(config, ModelFamily::llama);
  config.num_layers = 5;
  config.patterns = read_attention_patterns("full; window=8 sinks=2");
  ASSERT_TRUE(errors_of(config).empty());
  const ModelSpec spec = spec_of(config);
  for (const size_t block : {0u, 2u, 4u}) EXPECT_FALSE(spec.blocks[block].attention.keys) << block;
  for (const size_t block : {1u, 3u}) {
    EXPECT_EQ(spec.blocks[block].attention.window, 8) << block;
    EXPECT_EQ(spec.blocks[block].attention.keys.sinks, 2) << block;
  }
  config.window = 4;
  EXPECT_THAT(errors_of(config), Contains(HasSubstr("model.window 4")));
  config.window = 0;
  config.num_layers = 1;
  EXPECT_THAT(errors_of(config), Contains(HasSubstr("model.layers 1")));
  config.patterns = read_attention_patterns("globals=5000");
  EXPECT_THAT(errors_of(config), Contains(HasSubstr("model.max-positions 1024")));
}

}  // namespace
}  // namespace trireme
