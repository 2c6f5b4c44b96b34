// Muon on one rank, against PyTorch's in double precision: tests/golden/make_muon_golden.py made the file.
#include "parallel/optimizer/muon_optimizer.h"

#include <cmath>
#include <cstring>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/optimizer/model_optimizer.h"
#include "parallel/optimizer/newton_schulz.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/support/folders.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

using Floats = std::vector<float>;

double largest_difference(const Floats& a, const Floats& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
  return most;
}

/// The matrices of the file, "wide" twice in one block, as query and key are.
class GoldenMatrices {
 public:
  GoldenMatrices(Communicator& world, const ParallelPlan& plan) : parallel_(world, plan) {
    blocks_.resize(4);
    for (const char* name : {"wide", "wide.again"}) blocks_[0].members.push_back(parameter(name));
    blocks_[1] = single(parameter("tall"));
    blocks_[2] = single(parameter("square"));
    blocks_[3] = single(parameter("row"));
  }

  static std::string source(const std::string& name) { return name.substr(0, name.find('.')); }
  Floats read(const std::string& which, const std::string& name) const {
    const auto& entry = file_.at(which + "/" + source(name));
    Floats values(entry.bytes.size() / sizeof(float));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  }
  Parameter parameter(const std::string& name) const {
    return Parameter::whole(name, Shape(file_.at("start/" + source(name)).shape), 0, 0.02f);
  }

  /// A storage with the first weights of the file.
  std::unique_ptr<ParameterStorage> storage(DType precision = DType::f32,
                                            std::vector<ParameterRule> rules = muon_rules(),
                                            bool master = true) {
    std::vector<ParameterBlock*> blocks;
    for (ParameterBlock& block : blocks_) blocks.push_back(&block);
    ShardingSpec sharding;
    sharding.rules = std::move(rules);
    sharding.master = master;
    auto made = std::make_unique<ParameterStorage>(ctx_, blocks, precision, sharding);
    made->set(ctx_, [&](const Parameter& p, const Tensor& t) {
      write(t, read("start", p.name));
      return true;
    });
    return made;
  }
  /// Step `number` of the file with gradients that are `unit` times too large.
  void step(ParameterStorage& storage, ModelOptimizer& optimizer, int number, float unit = 1) {
    for (const ParameterView& view : storage.parameters()) {
      if (!view.gradient) continue;  // frozen
      Floats first = read("first", view.parameter->name), second = read("second", view.parameter->name);
      for (size_t i = 0; i < first.size(); ++i) {
        first[i] = unit * static_cast<float>(std::cos(number) * static_cast<double>(first[i]) +
                                             std::sin(number) * static_cast<double>(second[i]));
      }
      write(view.gradient, first);
    }
    optimizer.begin(ctx_, 0.02);
    const Tensor scale = make_tensor(ctx_, {1}, DType::f32, {1 / unit});
    optimizer.step(ctx_, scale, [](const ParameterGroup&, const ParameterBucket&) {});
  }
  std::map<std::string, Floats> weights(const ParameterStorage& storage) const {
    std::map<std::string, Floats> all;
    for (const ParameterView& view : storage.parameters()) all[view.parameter->name] = to_vector(view.master);
    return all;
  }

  SafetensorsReader file_{source_folder() + "/tests/golden/muon.safetensors"};
  Context ctx_{test_device(), 1, test_settings()};
  ParallelContext parallel_;
  std::vector<ParameterBlock> blocks_;
};

struct OneRank {
  std::unique_ptr<Communicator> self = make_self_communicator();
};

class MuonTest : public testing::Test, OneRank, protected GoldenMatrices {
 protected:
  MuonTest() : GoldenMatrices(*self, {.data = 1}) {}
};

TEST_F(MuonTest, TenStepsAgreeWithPyTorch) {
  const auto made = storage();
  ModelOptimizer optimizer(ctx_, parallel_, *made, {}, {});
  for (int number = 1; number <= 10; ++number) {
    step(*made, optimizer, number, 4);
    if (number != 1 && number != 10) continue;
    for (const auto& [name, values] : weights(*made)) {
      EXPECT_LT(largest_difference(values, read("after" + std::to_string(number), name)), 1e-6)
          << name << " after " << number << " steps";
    }
  }
  EXPECT_EQ(optimizer.num_steps(), 10);
}

TEST_F(MuonTest, ProductsInBf16ComeNear) {
  const auto made = storage();
  MuonConfig config;
  config.ns_dtype = DType::bf16;
  ModelOptimizer optimizer(ctx_, parallel_, *made, {}, config);
  for (int number = 1; number <= 10; ++number) step(*made, optimizer, number);
  for (const auto& [name, values] : weights(*made)) {
    EXPECT_LT(largest_difference(values, read("after10", name)), 2e-3) << name;  // 10 steps of 4e-3
    EXPECT_GT(largest_difference(values, read("after10", name)), 1e-6) << name << " was not rounded";
  }
}

TEST_F(MuonTest, WithoutMastersWeightsFollowOnAverage) {
  const auto made = storage(DType::bf16, muon_rules(), false);
  ModelOptimizer optimizer(ctx_, parallel_, *made, {}, {});
  for (int number = 1; number <= 10; ++number) step(*made, optimizer, number);
  double sum = 0, count = 0;
  for (const ParameterBlock& block : blocks_) {
    int64_t at = 0;
    for (const Parameter& p : block.members) {
      const Floats values = to_vector(block.weight.flat_slice(at, p.shape)),
                   expected = read("after10", p.name);
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(values[i], expected[i], 2e-3) << p.name;
        sum += static_cast<double>(values[i]) - expected[i];
        count += 1;
      }
      at += p.shape.numel();
    }
  }
  EXPECT_NEAR(sum / count, 0, 3e-5);
}

TEST_F(MuonTest, AScaleThatIsNotFiniteChangesNothing) {
  const auto made = storage();
  ModelOptimizer optimizer(ctx_, parallel_, *made, {}, {});
  step(*made, optimizer, 1);
  const auto before = weights(*made);
  std::vector<Floats> state;
  for (const StateBuffer& buffer : optimizer.state()) state.push_back(to_vector(buffer.values));
  for (const float scale : {INFINITY, NAN}) {
    optimizer.begin(ctx_, 0.02);
    optimizer.step(ctx_, make_tensor(ctx_, {1}, DType::f32, {scale}),
                   [](const ParameterGroup&, const ParameterBucket&) {});
  }
  EXPECT_EQ(weights(*made), before);
  for (size_t i = 0; i < state.size(); ++i) EXPECT_EQ(to_vector(optimizer.state()[i].values), state[i]);
  EXPECT_EQ(optimizer.num_steps(), 3);
}

TEST_F(MuonTest, StateThatIsCarriedOverGoesOnWithTheSameBits) {
  const auto first = storage();
  ModelOptimizer until(ctx_, parallel_, *first, {}, {});
  for (int number = 1; number <= 3; ++number) step(*first, until, number);
  std::map<std::string, Floats> state;
  for (const StateBuffer& buffer : until.state()) state[buffer.name] = to_vector(buffer.values);
  EXPECT_THAT(state, testing::ElementsAre(testing::Key("momentum")));
  const auto reached = weights(*first);
  for (int number = 4; number <= 6; ++number) step(*first, until, number);
  const auto expected = weights(*first);

  const auto second = storage();
  second->set(ctx_, [&](const Parameter& p, const Tensor& t) {
    write(t, reached.at(p.name));
    return true;
  });
  ModelOptimizer then(ctx_, parallel_, *second, {}, {});
  for (const StateBuffer& buffer : then.state()) write(buffer.values, state.at(buffer.name));
  then.set_num_steps(3);
  for (int number = 4; number <= 6; ++number) step(*second, then, number);
  EXPECT_EQ(weights(*second), expected);
}

// Whoever owns a matrix: state can be saved from any replica.
TEST_F(MuonTest, ReplicasKeepTheSameStateAndWeights) {
  const auto run = [](GoldenMatrices& matrices) {
    const auto made = matrices.storage();
    ModelOptimizer optimizer(matrices.ctx_, matrices.parallel_, *made, {}, {});
    for (int number = 1; number <= 3; ++number) matrices.step(*made, optimizer, number);
    auto all = matrices.weights(*made);
    for (const StateBuffer& buffer : optimizer.state()) all[buffer.name] = to_vector(buffer.values);
    return all;
  };
  const auto expected = run(*this);
  EXPECT_EQ(expected.size(), 6u);
  run_thread_ranks(3, [&](Communicator& world) {
    GoldenMatrices replica(world, {.data = 3});
    EXPECT_TRUE(run(replica) == expected) << "rank " << world.rank();
  });
}

TEST_F(MuonTest, RulesFreezeSlowDownAndChooseTheOptimizer) {
  std::vector<ParameterRule> rules = muon_rules();
  rules.push_back({.pattern = "tall", .frozen = true});
  rules.push_back({.pattern = "square", .lr_factor = 0.5});
  rules.push_back({.pattern = "row", .optimizer = OptimizerKind::adamw, .decays = false});
  const auto made = storage(DType::f32, rules);
  ModelOptimizer optimizer(ctx_, parallel_, *made, {}, {});
  step(*made, optimizer, 1);
  const auto now = weights(*made);
  EXPECT_EQ(now.at("tall"), read("start", "tall"));
  EXPECT_LT(largest_difference(now.at("wide"), read("after1", "wide")), 1e-6);
  const Floats start = read("start", "square"), whole = read("after1", "square");
  for (size_t i = 0; i < start.size(); ++i)
    EXPECT_NEAR(now.at("square")[i] - start[i], 0.5f * (whole[i] - start[i]), 1e-7);
  const Floats row = read("start", "row");
  for (size_t i = 0; i < row.size(); ++i)
    EXPECT_NEAR(std::abs(now.at("row")[i] - row[i]), 0.02, 2e-5) << "AdamW's first step";
  EXPECT_THROW(storage(DType::f32, {{.pattern = "wide", .frozen = true}}), UserError);
}

TEST_F(MuonTest, SingularValuesComeNearOne) {
  for (const auto& [rows, columns] : {std::pair{5, 64}, {64, 5}, {33, 33}}) {
    const Tensor x = random_tensor(ctx_, {rows, columns}, DType::f32, 3);
    const Floats o = to_vector(orthogonalized(ctx_, x, DType::f32, 5));
    // Of the smaller side's products with each other the trace is the sum of squared singular values.
    double squares = 0;
    for (const float value : o) squares += static_cast<double>(value) * value;
    const double mean = squares / std::min(rows, columns);
    EXPECT_GT(mean, 0.68 * 0.68) << rows;
    EXPECT_LT(mean, 1.14 * 1.14) << rows;
  }
  EXPECT_EQ(
      to_vector(orthogonalized(ctx_, make_tensor(ctx_, {2, 2}, DType::f32, {0, 0, 0, 0}), DType::f32, 5)),
      Floats(4, 0.0f));
}

}  // namespace
}  // namespace trireme::test
