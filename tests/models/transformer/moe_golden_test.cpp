// A small Mixtral against Hugging Face's in PyTorch: tests/golden/make_moe_golden.py made the file.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/routing.h"
#include "tests/support/folders.h"
#include "tests/support/parameter_blocks.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

constexpr int64_t kExperts = 5, kChoices = 2, kRows = 26, kHidden = 32;

class Golden {
 public:
  Golden() : file_(test::source_folder() + "/tests/golden/mixtral_tiny.safetensors") {}

  template <class T = float>
  std::vector<T> read(const std::string& name) const {
    const auto& entry = file_.at(name);
    EXPECT_EQ(entry.dtype, DTypeOf<T>::value) << name;
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  }
  double number(const std::string& name) const { return static_cast<double>(read(name).at(0)); }

 private:
  SafetensorsReader file_;
};

double relative_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, largest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return difference / largest;
}

ModelConfig mixtral() {
  ModelConfig c;
  apply_family(c, ModelFamily::llama);
  c.vocab_size = 61;
  c.num_layers = 2;
  c.hidden_size = kHidden;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.ffn_size = 24;
  c.max_positions = 16;
  c.moe.num_experts = kExperts;
  c.moe.experts_per_token = kChoices;
  c.moe.aux_loss = 0.02;
  c.moe.z_loss = 0.003;
  return c;
}

// Loads this rank's parts, makes a step of the file's batch and compares what every rank has.
void expect_golden_step(Communicator& world, const ParallelPlan& plan) {
  const Golden golden;
  Context ctx;
  TrainingSession session(ctx, world, plan, mixtral(), {.max_seq_len = 16});
  for (const ParameterView& view : session.storage().parameters()) {
    const auto values = golden.read("weight/" + view.parameter->name);
    ASSERT_EQ(static_cast<int64_t>(values.size()), view.parameter->global_shape.numel());
    test::for_each_element(*view.parameter,
                           [&](size_t i, size_t global) { view.master.data<float>()[i] = values[global]; });
  }
  MicroBatch batch =
      make_micro_batch(ctx, 2, 13, golden.read<int32_t>("tokens"), golden.read<int32_t>("targets"));
  EXPECT_LT(relative_difference(test::to_vector(session.model().logits(ctx, batch)), golden.read("logits")),
            1e-5);
  const PendingStep pending = session.step().forward_backward({&batch, 1});
  const BatchTotals totals = pending.totals();
  EXPECT_NEAR(totals.mean_loss(), golden.number("loss"), 1e-5 * golden.number("loss"));
  EXPECT_NEAR(totals.mean_of(totals.aux_loss_sum), golden.number("aux_loss"),
              1e-5 * golden.number("aux_loss"));
  EXPECT_NEAR(totals.mean_of(totals.z_loss_sum), golden.number("z_loss"), 1e-5 * golden.number("z_loss"));
  for (const ParameterView& view : session.storage().parameters()) {
    const auto whole = golden.read("grad/" + view.parameter->name);
    std::vector<float> gradient = test::to_vector(view.gradient), expected(gradient.size());
    for (float& g : gradient) g /= static_cast<float>(totals.weight);
    test::for_each_element(*view.parameter, [&](size_t i, size_t global) { expected[i] = whole[global]; });
    EXPECT_LT(relative_difference(gradient, expected), 1e-5) << view.parameter->name;
  }
  EXPECT_NEAR(pending.gradient_norm(), golden.number("grad_norm"), 1e-5 * golden.number("grad_norm"));
}

TEST(GoldenMixtral, RoutersDecideAlike) {
  const Golden golden;
  Context ctx;
  for (const std::string layer : {"0", "1"}) {
    const Tensor x =
        test::make_tensor(ctx, {kRows, kHidden}, DType::f32, golden.read("router/" + layer + "/input"));
    const Tensor w = test::make_tensor(ctx, {kExperts, kHidden}, DType::f32,
                                       golden.read("weight/layers." + layer + ".ffn.router.weight"));
    const auto floats = [&](int64_t columns) { return Tensor::empty(ctx, {kRows, columns}, DType::f32); };
    const Tensor logits = floats(kExperts), probabilities = floats(kExperts), gates = floats(kChoices);
    const Tensor log_sum = Tensor::empty(ctx, {kRows}, DType::f32);
    const Tensor chosen = Tensor::empty(ctx, {kRows, kChoices}, DType::i32);
    ops::linear(ctx, x, w, {}, logits);
    ops::route(ctx, {}, logits, {}, probabilities, log_sum, chosen, gates);
    const auto router = "router/" + layer;
    EXPECT_LT(relative_difference(test::to_vector(probabilities), golden.read(router + "/probabilities")),
              1e-5);
    EXPECT_LT(relative_difference(test::to_vector(gates), golden.read(router + "/gates")), 1e-5);
    EXPECT_EQ(std::vector<int32_t>(chosen.data<int32_t>(), chosen.data<int32_t>() + chosen.numel()),
              golden.read<int32_t>(router + "/chosen"));
  }
}

TEST(GoldenMixtral, LogitsLossesAndEveryGradientAgree) {
  const auto self = make_self_communicator();
  expect_golden_step(*self, {.data = 1});
}

TEST(GoldenMixtral, TensorParallelRanksAgreeToo) {
  for (const bool sequence : {false, true}) {
    run_thread_ranks(2, [&](Communicator& world) {
      expect_golden_step(world, {.data = 1, .tensor = 2, .sequence = sequence});
    });
  }
}

}  // namespace
}  // namespace trireme
