// Layouts that a model does not fit are named by the options of inference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "launch/generate/inference_arguments.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string refused(const ModelConfig& config, const ParallelPlan& plan) {
  InferenceArguments arguments;
  arguments.model.plan = plan;
  try {
    fitting(config, arguments);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "";
}

ModelConfig small_model() {
  ModelConfig config;
  config.vocab_size = 64;
  config.num_layers = 2;
  config.hidden_size = 36;
  config.num_heads = config.num_kv_heads = 9;
  config.ffn_size = 72;
  config.max_positions = 16;
  return config;
}

TEST(LayoutsOfInference, ThatFitAreTaken) {
  EXPECT_EQ(refused(small_model(), {.tensor = 3}), "");
  EXPECT_EQ(refused(small_model(), {.pipeline = 2}), "");
  ModelConfig mixture = small_model();
  mixture.moe.num_experts = 4;
  mixture.moe.expert_ffn_size = 36;
  EXPECT_EQ(refused(mixture, {.expert = 2}), "");
}

TEST(LayoutsOfInference, AreNamedByTheirOptions) {
  const std::string tensor = refused(small_model(), {.tensor = 2});
  EXPECT_THAT(tensor, HasSubstr("9 does not divide by --tp 2"));
  EXPECT_THAT(tensor, HasSubstr("--tp 1 or 3"));
  EXPECT_THAT(tensor, Not(HasSubstr("parallel.")));
  const std::string pipeline = refused(small_model(), {.pipeline = 40});
  EXPECT_THAT(pipeline, HasSubstr("--pp 40"));
  EXPECT_THAT(pipeline, Not(HasSubstr("parallel.")));
  EXPECT_THAT(refused(small_model(), {.expert = 2}), HasSubstr("--ep 2: the model has no experts"));
}

}  // namespace
}  // namespace trireme::launch
