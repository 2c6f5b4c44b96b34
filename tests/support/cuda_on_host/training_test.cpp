// Training on the tests' device, a GPU or the host's stand-in for one, follows the CPU in every layout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/cuda_on_host/training_cases.h"

namespace trireme::test {
namespace {

class DeviceTraining : public testing::TestWithParam<TrainingCase> {};

TEST_P(DeviceTraining, FollowsTheCpu) {
  const LayoutRun& run = GetParam().run;
  expect_follows(run_on_threads(GetParam().ranks, run), run_on_one_rank(run));
}

INSTANTIATE_TEST_SUITE_P(Layouts, DeviceTraining, testing::ValuesIn(training_cases()),
                         [](const auto& test_info) { return test_info.param.name; });

/// 16 bits: weights, activations and what ranks send each other, beside f32 masters.
TEST(DeviceTraining, SixteenBitsFollowTheCpu) {
  for (const DType precision : {DType::bf16, DType::f16}) {
    SCOPED_TRACE(to_string(precision));
    LayoutRun run = make_training_case("", ModelFamily::llama, 2, {.tensor = 2}).run;
    run.precision = precision;
    run.loss_scale = precision == DType::f16 ? 1024 : 1;
    expect_follows(run_on_threads(2, run), run_on_one_rank(run),
                   {.gradients = 0.06, .losses = 2e-3, .norms = 0.02, .later = 0.1});
  }
}

}  // namespace
}  // namespace trireme::test
