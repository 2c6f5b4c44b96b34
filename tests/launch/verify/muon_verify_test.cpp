// trireme verify recomputes Muon's updates, whoever owned the matrices.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/verify.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/launch/verify/tiny_run.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

RunConfig muon_run() {
  RunConfig config = test::tiny_run({.data = 2, .tensor = 2, .zero_stage = 2}, 2);
  config.optimizer.kind = OptimizerKind::muon;
  config.optimizer.muon_lr = 0.01;
  return config;
}

/// Changes weights after each update, on every rank alike.
struct Hooks : RunHooks {
  std::function<void(const Parameter&, const Tensor&)> change;
  void after_update(int64_t, Context&, Transformer& model) override {
    for (const ParameterView& view : model.storage().parameters()) {
      if (view.master) change(*view.parameter, view.master);
    }
  }
};

std::vector<std::string> errors_of_run(const RunConfig& config,
                                       std::function<void(const Parameter&, const Tensor&)> change = {}) {
  std::vector<std::string> errors;
  run_thread_ranks(config.parallel.world_size(), [&](Communicator& world) {
    Hooks hooks;
    hooks.change = change;
    const VerifyReport report = verify_layout(world, config, {}, change ? &hooks : nullptr);
    if (world.rank() == 0) errors = report.errors;
  });
  return errors;
}

TEST(MuonVerify, ALayoutThatFollowsPassesInAnyPrecision) {
  RunConfig config = muon_run();
  EXPECT_THAT(errors_of_run(config), IsEmpty());
  config.train.precision = DType::bf16;
  EXPECT_THAT(errors_of_run(config), IsEmpty());
  config.train.master = false;
  EXPECT_THAT(errors_of_run(config), IsEmpty());
}

TEST(MuonVerify, RulesAreFollowed) {
  RunConfig config = muon_run();
  config.optimizer.rules = {{.pattern = "layers.0.*", .frozen = true},
                            {.pattern = "layers.1.ffn.*", .decays = false, .lr_factor = 0.5}};
  EXPECT_THAT(errors_of_run(config), IsEmpty());
}

TEST(MuonVerify, AnUpdateThatIsNotMuonsIsNamed) {
  RunConfig config = muon_run();
  config.parallel = {.data = 1};
  const auto twice = [](const Parameter& p, const Tensor& w) {
    if (p.name == "layers.1.ffn.down.weight") w.data<float>()[7] += 1e-4f;
  };
  EXPECT_THAT(errors_of_run(config, twice),
              testing::Contains(HasSubstr("the update of layers.1.ffn.down.weight, element 7, differs")));
  config.optimizer.rules = {{.pattern = "layers.1.ffn.down.*", .frozen = true}};
  EXPECT_THAT(errors_of_run(config, twice), testing::Contains(HasSubstr("frozen")));
}

// Where products are in bf16 single elements may be off; the whole may not.
TEST(MuonVerify, InBf16TheWholeUpdateIsLookedAt) {
  RunConfig config = muon_run();
  config.parallel = {.data = 1};
  config.optimizer.muon_precision = DType::bf16;
  EXPECT_THAT(errors_of_run(config), IsEmpty());
  const auto other = [](const Parameter& p, const Tensor& w) {
    if (p.name != "layers.1.ffn.down.weight") return;
    for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] *= 1.2f;
  };
  EXPECT_THAT(errors_of_run(config, other), testing::Contains(HasSubstr("layers.1.ffn.down.weight")));
}

TEST(MuonVerify, ItIsVerifiedInF32First) {
  RunConfig config = muon_run();
  EXPECT_EQ(verified_runs(config).size(), 1u);
  config.optimizer.muon_precision = DType::bf16;
  const auto runs = verified_runs(config);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].optimizer.muon_precision, DType::f32);
  EXPECT_EQ(runs[1], config);
}

}  // namespace
}  // namespace trireme::launch
