// Whole training runs give the same bits with any number of threads.
#include <algorithm>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "models/families/presets.h"
#include "runtime/ops/packed/packed_weight.h"
#include "tests/support/layout_run.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr int kThreads[] = {1, 2, 3, 8};

struct Case {
  std::string_view preset;
  int64_t layers, vocab_size;
  int64_t hidden = 0, ffn = 0, experts = 0;  // 0: the preset's
  DType precision = DType::f32;
  int tensor = 1, ranks = 1;
  bool quantized = false;  // trained through int4
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.preset; }

LayoutRun run_of(const Case& c) {
  LayoutRun run;
  run.model = find_preset(c.preset)->config;
  run.model.num_layers = std::min(run.model.num_layers, c.layers);
  run.model.vocab_size = c.vocab_size;
  if (c.hidden > 0) {
    run.model.hidden_size = c.hidden;
    run.model.num_heads = run.model.num_kv_heads = 4;
  }
  if (c.ffn > 0) run.model.ffn_size = c.ffn;
  if (c.experts > 0) run.model.moe.num_experts = c.experts;
  run.precision = c.precision;
  if (c.quantized)
    run.model.quantization = {.weights = {ops::PackedFormat::int4, 32}, .embedding = true, .head = true};
  run.plan.tensor = c.tensor;
  run.steps = 3;
  run.seq_len = 33;
  run.micro_batch = 2;
  run.global_batch = 4;
  run.unequal_targets = true;
  run.gradients = false;
  return run;
}

class TrainingWithThreads : public testing::TestWithParam<Case> {};

TEST_P(TrainingWithThreads, ChangesNoBit) {
  LayoutRun run = run_of(GetParam());
  LayoutResult expected;
  for (const int num_threads : kThreads) {
    SCOPED_TRACE(num_threads);
    run.num_threads = num_threads;
    const LayoutResult result = run_on_threads(GetParam().ranks, run);
    if (num_threads == 1) expected = result;
    EXPECT_EQ(result.losses, expected.losses);
    EXPECT_EQ(result.norms, expected.norms);
    EXPECT_EQ(result.aux_losses, expected.aux_losses);
    EXPECT_TRUE(result.weights == expected.weights);
  }
}

// The first are those whose losses have been seen to differ.
const Case kSmall[] = {{"llama-10m", 2, 65, 320, 1024},
                       {"mixtral-tiny", 1, 65, 256, 700, 4},
                       {"llama-10m", 1, 257, 384, 1024, 0, DType::bf16},
                       {"llama-tiny", 1, 65, 320, 1024, 0, DType::f32, 2, 4},
                       {"llama-tiny", 1, 65, 64, 128, 0, DType::f32, 1, 1, true}};
INSTANTIATE_TEST_SUITE_P(Small, TrainingWithThreads, testing::ValuesIn(kSmall));

// Of the large presets two layers.
std::vector<Case> all_presets() {
  if (!whole_tier()) return {{"deepseek-tiny", 2, 65}};
  std::vector<Case> cases{{"llama-10m", 2, 1031, 0, 0, 0, DType::f16}};
  for (const std::string_view preset :
       {"gpt2-tiny", "gpt2-3m", "gpt2-10m", "gpt2-124m", "gpt2-355m", "llama-tiny", "llama-10m",
        "mixtral-tiny", "deepseek-tiny", "switch-tiny", "switch-124m-e8"}) {
    for (const DType precision : {DType::f32, DType::bf16}) {
      cases.push_back({preset, preset.ends_with("tiny") ? 4 : 2, 1031, 0, 0, 0, precision});
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Presets, TrainingWithThreads, testing::ValuesIn(all_presets()));

}  // namespace
}  // namespace trireme::test
