#include "models/config/distill_config.h"

#include <functional>

#include <gtest/gtest.h>

#include "models/layers/distillation.h"

namespace trireme {
namespace {

TEST(DistillConfig, NamesWhatCannotBe) {
  EXPECT_TRUE(distill_errors({}, 0.1).empty());
  const auto expect_error = [](const std::function<void(DistillConfig&)>& change, const char* words,
                               double smoothing = 0) {
    DistillConfig config;
    change(config);
    const auto errors = distill_errors(config, smoothing);
    ASSERT_EQ(errors.size(), 1u) << words;
    EXPECT_NE(errors[0].find(words), std::string::npos) << errors[0];
  };
  expect_error([](auto& c) { c.weight = 1.5; }, "weight 1.5: it is from 0 to 1");
  expect_error([](auto& c) { c.weight = 0; }, "nothing would be distilled");
  expect_error([](auto& c) { c.temperature = 0; }, "temperature 0");
  expect_error([](auto& c) { c.divergence = DivergenceKind::skew_reverse, c.skew = 1; }, "skew 1");
  expect_error([](auto& c) { c.divergence = DivergenceKind::jsd, c.beta = 0; }, "beta 0");
  expect_error([](auto& c) { c.hidden_weight = -1; }, "hidden states of -1");
  expect_error([](auto& c) { c.tokens = TeacherTokens::top_k; }, "0 tokens of a teacher");
  expect_error([](auto& c) { c.num_tokens = 4; }, "4 tokens, where all");
  expect_error(
      [](auto& c) {
        c.tokens = TeacherTokens::sampled, c.num_tokens = 12, c.divergence = DivergenceKind::jsd;
      },
      "sampled tokens estimate forward KL alone");
  expect_error([](auto& c) { c.weight = 1; }, "label smoothing 0.1 has no effect", 0.1);
}

TEST(DistillConfig, DivergencesAreThoseOfThePapers) {
  DistillConfig config;
  config.skew = 0.2, config.beta = 0.3;
  const auto of = [&](DivergenceKind kind) {
    config.divergence = kind;
    const ops::Divergence d = divergence_of(config);
    return std::pair(d.mix, d.of_teacher);
  };
  EXPECT_EQ(of(DivergenceKind::forward_kl), std::pair(0.0, 1.0));
  EXPECT_EQ(of(DivergenceKind::reverse_kl), std::pair(1.0, 0.0));
  EXPECT_EQ(of(DivergenceKind::skew_forward), std::pair(0.2, 1.0));
  EXPECT_EQ(of(DivergenceKind::skew_reverse), std::pair(0.8, 0.0));
  EXPECT_EQ(of(DivergenceKind::jsd), std::pair(0.3, 0.3));
}

}  // namespace
}  // namespace trireme
