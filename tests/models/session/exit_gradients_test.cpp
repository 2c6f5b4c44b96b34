// Training for early exit: its gradients by finite differences, which samples pass layers by, its errors.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "models/config/exit_config.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/layout_run.h"
#include "tests/support/run_differences.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using Values = std::map<std::string, std::vector<float>>;

MicroBatch batch_of(Context& ctx, int64_t first_sample) {
  std::vector<int32_t> tokens, targets;
  for (int i = 0; i < 4 * 7; ++i) {
    tokens.push_back(i * 5 % 37);
    targets.push_back((i * i + 3) % 37);
  }
  MicroBatch batch = make_micro_batch(ctx, 4, 7, tokens, targets);
  batch.first_sample = first_sample;
  return batch;
}

class ExitTraining {
 public:
  ExitTraining(const ModelConfig& model, const ExitConfig& exits, const LossConfig& loss = {})
      : session_(ctx_, *self_, {}, model, {.max_seq_len = 8, .seed = 3, .loss = loss, .exits = exits}) {}

  /// Loss and all that is added, as means; gradients of sums.
  BatchTotals pass(Values* gradients = nullptr, int64_t first_sample = 5) {
    MicroBatch batch = batch_of(ctx_, first_sample);
    PendingStep pending = session_.step().forward_backward({&batch, 1});
    const BatchTotals totals = pending.totals();
    if (gradients != nullptr) {
      for (const ParameterView& view : session_.storage().parameters())
        (*gradients)[view.parameter->name] = to_vector(view.gradient);
    }
    session_.step().skip(std::move(pending));
    return totals;
  }
  /// Moves every weight along `direction`.
  void move(const Values& direction, double by) {
    session_.storage().set(ctx_, [&](const Parameter& p, const Tensor& t) {
      const std::vector<float>& d = direction.at(p.name);
      for (size_t i = 0; i < d.size(); ++i) t.data<float>()[i] += static_cast<float>(by) * d[i];
      return true;
    });
  }

 private:
  Context ctx_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainingSession session_;
};

ModelConfig model_with_exits(bool tied) {
  ModelConfig model = tiny_model(tied ? ModelFamily::gpt2 : ModelFamily::llama);
  model.num_layers = 5;
  model.exits = {2, 4};
  return model;
}

// Along its own direction the mean gradient has its square as slope, of the loss and what exits add together.
TEST(ExitGradients, AreFiniteDifferences) {
  for (const bool tied : {true, false}) {
    for (const ExitCurriculum curriculum : {ExitCurriculum::rotating, ExitCurriculum::all}) {
      const LossConfig loss = tied ? LossConfig{.z_loss = 0.01, .chunk_tokens = 5} : LossConfig{};
      ExitTraining training(model_with_exits(tied), {.scale = 3, .dropout = 0.6, .curriculum = curriculum},
                            loss);
      Values direction;
      const double weight = training.pass(&direction).weight;
      double square = 0;
      for (auto& [name, values] : direction) {
        for (float& v : values) {
          v = static_cast<float>(v / weight);
          square += static_cast<double>(v) * v;
        }
      }
      const double step = 0.003 / std::sqrt(square);
      training.move(direction, step);
      const double above = training.pass().mean_objective();
      training.move(direction, -2 * step);
      const double below = training.pass().mean_objective();
      EXPECT_NEAR((above - below) / (2 * step) / square, 1, 0.01) << (tied ? "tied" : "untied");
    }
  }
}

// Exits change neither the loss that is shown nor, with a scale of 0, any gradient.
TEST(ExitGradients, WithoutScaleAreThoseOfTheModelAlone) {
  Values with, none, without;
  const ModelConfig model = model_with_exits(false);
  ModelConfig plain = model;
  plain.exits = {};
  const BatchTotals of_exits = ExitTraining(model, {.scale = 1}).pass(&with);
  const BatchTotals of_none = ExitTraining(model, {.scale = 0}).pass(&none);
  const BatchTotals of_plain = ExitTraining(plain, {.scale = 1}).pass(&without);
  EXPECT_EQ(none, without);
  EXPECT_NE(with, without);
  EXPECT_EQ(of_none.loss_sum, of_plain.loss_sum);
  EXPECT_NEAR(of_exits.loss_sum, of_plain.loss_sum, 1e-4 * of_plain.loss_sum);
  EXPECT_GT(of_exits.added_sum, 0);
  EXPECT_EQ(of_none.added_sum, 0);
}

// Which layers a sample passes by follows from its number alone, and other numbers pass others by.
TEST(LayerDropout, FollowsTheNumbersOfSamples) {
  const ModelConfig model = model_with_exits(false);
  ExitTraining training(model, {.scale = 0, .dropout = 0.9}), plain(model, {.scale = 0});
  const double at_5 = training.pass(nullptr, 5).loss_sum, at_90 = training.pass(nullptr, 90).loss_sum;
  EXPECT_EQ(at_5, training.pass(nullptr, 5).loss_sum);
  EXPECT_NE(at_5, at_90);
  EXPECT_EQ(plain.pass(nullptr, 5).loss_sum, plain.pass(nullptr, 90).loss_sum);
}

TEST(LayerDropout, GrowsExponentiallyWithDepth) {
  const ExitConfig config{.dropout = 0.2};
  EXPECT_EQ(config.dropout_of(0, 9), 0);
  EXPECT_NEAR(config.dropout_of(4, 9), 0.2 * (std::sqrt(2.0) - 1), 1e-12);
  EXPECT_NEAR(config.dropout_of(8, 9), 0.2, 1e-12);
}

TEST(ExitConfigs, SayWhatWouldWork) {
  ModelConfig model = model_with_exits(false);
  EXPECT_TRUE(exit_errors(model).empty());
  for (const std::vector<int64_t>& exits : {std::vector<int64_t>{0}, {5}, {-1, 2}, {3, 3}, {4, 2}}) {
    model.exits = exits;
    const auto errors = exit_errors(model);
    ASSERT_FALSE(errors.empty());
    EXPECT_NE(errors.front().find("model.exits"), std::string::npos) << errors.front();
  }
  model.exits = {1, 2, 4};
  EXPECT_EQ(kept_streams(model, {}), 1);
  EXPECT_EQ(kept_streams(model, {.curriculum = ExitCurriculum::all}), 3);
  EXPECT_EQ(kept_streams(model, {.scale = 0}), 0);
}

}  // namespace
}  // namespace trireme::test
