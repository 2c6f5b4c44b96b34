// A model whose layers share weights is the one in which they are repeated, and its gradients are sums.
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using Tensors = std::map<std::string, std::vector<float>>;

// "layers.0.ffn.up.weight" for "layers.4.ffn.up.weight", where two layers have weights of their own.
std::string name_of_two(std::string name) {
  if (name.starts_with("layers.")) name[7] = static_cast<char>('0' + (name[7] - '0') % 2);
  return name;
}

struct OneStep {
  explicit OneStep(const ModelConfig& config)
      : session(ctx, *self, {.data = 1}, config, {.max_seq_len = 12, .seed = 5}) {}

  /// The gradients of the sum of losses, by the names that the parameters have where two layers have their
  /// own.
  void run() {
    std::vector<int32_t> tokens(25);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((7 * i * i + 3) % 37);
    const std::span all(tokens);
    std::vector<MicroBatch> batch{make_micro_batch(ctx, 2, 12, all.first(24), all.last(24))};
    PendingStep pending = session.step().forward_backward(batch);
    loss = pending.totals().loss_sum;
    norm = pending.gradient_norm();
    session.step().for_each_parameter(0, ParameterState::gradient, [&](const Parameter& p, const Tensor& t) {
      const std::vector<float> values = to_vector(t);
      auto& sum = gradients[name_of_two(p.name)];
      sum.resize(values.size());
      for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
    });
    session.step().skip(std::move(pending));
  }
  Tensors weights() {
    Tensors all;
    for (const ParameterView& view : session.storage().parameters())
      all[view.parameter->name] = to_vector(view.master);
    return all;
  }

  Context ctx;
  std::unique_ptr<Communicator> self = make_self_communicator();
  TrainingSession session;
  double loss = 0, norm = 0;
  Tensors gradients;
};

void expect_repeated(ModelConfig config) {
  config.num_layers = 5;
  OneStep apart(config);
  config.share = 2;
  OneStep shared(config);
  const Tensors weights = shared.weights();
  apart.session.storage().set(apart.ctx, [&](const Parameter& p, const Tensor& t) {
    ops::write(apart.ctx, weights.at(name_of_two(p.name)), t);
    return true;
  });
  apart.run();
  shared.run();
  EXPECT_EQ(shared.loss, apart.loss);
  std::string worst;
  EXPECT_LT(largest_difference(shared.gradients, apart.gradients, worst), 1e-5) << worst;
  double squares = 0;
  for (const auto& [name, gradient] : apart.gradients) {
    for (const float g : gradient) squares += static_cast<double>(g) * static_cast<double>(g);
  }
  EXPECT_NEAR(shared.norm, std::sqrt(squares) / 24, 1e-5 * shared.norm) << "each parameter counts once";
}

TEST(SharedLayers, AreTheSameLayersRepeated) {
  for (const ModelFamily family :
       {ModelFamily::gpt2, ModelFamily::llama, ModelFamily::qwen3, ModelFamily::gemma2}) {
    SCOPED_TRACE(static_cast<int>(family));
    expect_repeated(tiny_model(family));
  }
  ModelConfig mixture = tiny_model(ModelFamily::llama);
  mixture.moe = {.num_experts = 4, .shared_ffn_size = 10, .every = 2, .aux_loss = 0.1, .z_loss = 0.1};
  expect_repeated(mixture);
}

// What a report says of a layer is of that layer, and of a parameter the name that it has.
TEST(SharedLayers, AreReportedByTheirOwnNames) {
  struct Names final : StageObserver {
    void after_forward(Context&, const ObservedLayer& layer, const Tensor&) override {
      names.push_back(layer.name);
    }
    std::vector<std::string> names;
  } seen;
  ModelConfig config = tiny_model(ModelFamily::gpt2);
  config.share = 1;
  OneStep step(config);
  step.session.part().chunks[0].observe(seen);
  step.run();
  EXPECT_EQ(seen.names,
            (std::vector<std::string>{"embedding", "layers.0", "layers.1", "layers.2", "final_norm"}));
  EXPECT_EQ(step.weights().count("layers.1.ffn.up.weight"), 0U);
}

}  // namespace
}  // namespace trireme::test
