#include "launch/verify/small_model.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "models/config/attention_pattern.h"
#include "models/families/presets.h"
#include "models/spec/model_spec.h"

namespace trireme::launch {
namespace {

RunConfig run_of(const ModelConfig& model, int64_t seq_len) {
  RunConfig config;
  config.model = model;
  config.parallel.data = 1;
  config.train.seq_len = seq_len;
  config.train.micro_batch = config.train.global_batch = 2;
  return config;
}

// Whether blocks have a window, and whether they have positions.
std::set<std::pair<bool, bool>> kinds_of(const ModelConfig& model) {
  std::set<std::pair<bool, bool>> kinds;
  for (const BlockSpec& block : spec_of(model).blocks)
    kinds.emplace(block.attention.window > 0, block.attention.rotary.dims > 0);
  return kinds;
}

TEST(SmallModel, OfEveryPresetIsSoundAndKeepsItsKindsOfBlocks) {
  for (const Preset& preset : presets()) {
    const RunConfig small = small_run(run_of(preset.config, preset.config.max_positions));
    EXPECT_TRUE(errors_of(small.model).empty())
        << preset.config.name << ": " << errors_of(small.model).front();
    EXPECT_LE(small.model.num_layers, 2) << preset.config.name;
    EXPECT_EQ(kinds_of(small.model), kinds_of(preset.config)) << preset.config.name;
  }
}

TEST(SmallModel, HasExitsWhereTheRunHas) {
  ModelConfig model = find_preset("phi3-mini-4k")->config;
  model.exits = {8, 16};
  EXPECT_EQ(small_run(run_of(model, 4096)).model.exits, std::vector<int64_t>{1});
  model.exits = {1, 16};
  EXPECT_EQ(small_run(run_of(model, 4096)).model.exits, std::vector<int64_t>{1});
}

TEST(SmallModel, ItsPatternsHideKeysOfShortSequences) {
  ModelConfig model = find_preset("llama-tiny")->config;
  model.patterns = read_attention_patterns(
      "window=64 globals=0,100; blocks=64 summary=32 reach=9; window=128 stride=64/16 sinks=4; full");
  const RunConfig small = small_run(run_of(model, model.max_positions));
  ASSERT_EQ(small.train.seq_len, 16);
  EXPECT_EQ(to_text(small.model.patterns), "window=4 globals=0; blocks=4 summary=4 reach=2");
  EXPECT_TRUE(errors_of(small.model).empty());
}

TEST(SmallModel, HasLongFactorsWhereTheRunHas) {
  ModelConfig model = find_preset("phi3-mini-4k")->config;
  model.max_positions = 131072;
  model.rotary_scaling = RotaryScaling::longrope;
  model.rotary_scaling_factor = 32;
  model.rotary_original_positions = 4096;
  model.rotary_dims = 72;
  model.rotary_short_factors = std::vector<double>(36, 1.5);
  model.rotary_long_factors = std::vector<double>(36, 2.5);
  ASSERT_TRUE(errors_of(model).empty()) << errors_of(model).front();
  for (const int64_t seq_len : {4096, 8192}) {
    const RunConfig small = small_run(run_of(model, seq_len));
    EXPECT_TRUE(errors_of(small.model).empty()) << errors_of(small.model).front();
    EXPECT_EQ(small.model.rotary_dims, 6);  // of 8, as 72 of 96
    EXPECT_EQ(small.model.rotary_short_factors.size(), 3u);
    EXPECT_EQ(small.train.seq_len > small.model.rotary_original_positions, seq_len == 8192);
  }
}

}  // namespace
}  // namespace trireme::launch
