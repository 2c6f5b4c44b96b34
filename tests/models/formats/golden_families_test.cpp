// Tiny models of every family, in the files of Hugging Face's transformers, against what that computes in
// float64: tests/interop/models/tiny_models.py --small made tests/golden/families.
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/folders.h"
#include "tests/support/hf_model_run.h"
#include "tests/support/test_device.h"

namespace trireme {
namespace {

constexpr double kBound = 1e-5;

std::string families_folder() { return test::source_folder() + "/tests/golden/families"; }

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(families_folder())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenFamilies : public testing::TestWithParam<std::string> {
 protected:
  test::HfModelRun run(Communicator& world, const ParallelPlan& plan) const {
    Context ctx(test::test_device(), 1, test::test_settings());
    return test::run_hf_model(ctx, world, plan, directory_, reference_);
  }

  // Logits relative to the largest, as gradients are to the largest of their tensor.
  void expect_outputs(const test::HfModelRun& run) const {
    EXPECT_LT(test::relative_difference(run.logits, test::floats_of(reference_, "logits")), kBound);
    const double loss = test::floats_of(reference_, "loss").at(0);
    EXPECT_NEAR(run.loss, loss, kBound * loss);
  }

  const std::string directory_ = families_folder() + "/" + GetParam();
  const SafetensorsReader reference_{directory_ + "/reference.safetensors"};
};

TEST_P(GoldenFamilies, LogitsLossAndEveryGradientAgree) {
  const test::HfModelRun run = this->run(*make_self_communicator(), {});
  expect_outputs(run);
  double squares = 0;
  size_t num_gradients = 0;
  for (const auto& [name, stored] : reference_.tensors()) {
    if (!name.starts_with("grad/")) continue;
    ++num_gradients;
    const std::string tensor = name.substr(5);
    ASSERT_TRUE(run.gradients.contains(tensor)) << tensor;
    const std::vector<float> expected = test::floats_of(reference_, name);
    EXPECT_LT(test::relative_difference(run.gradients.at(tensor), expected), kBound) << tensor;
    for (const float g : expected) squares += static_cast<double>(g) * g;
  }
  EXPECT_EQ(run.gradients.size(), num_gradients);
  EXPECT_NEAR(run.gradient_norm, std::sqrt(squares), kBound * std::sqrt(squares));
}

TEST_P(GoldenFamilies, TensorAndPipelineParallelRanksAgreeToo) {
  const double norm = run(*make_self_communicator(), {}).gradient_norm;
  for (const ParallelPlan& plan : {ParallelPlan{.tensor = 2}, ParallelPlan{.pipeline = 2}}) {
    run_thread_ranks(2, [&](Communicator& world) {
      const test::HfModelRun run = this->run(world, plan);
      expect_outputs(run);
      EXPECT_NEAR(run.gradient_norm, norm, kBound * norm);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenFamilies, testing::ValuesIn(family_names()), [](const auto& p) {
  std::string name = p.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace trireme
