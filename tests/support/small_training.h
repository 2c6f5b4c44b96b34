// A small dense model that is trained on the tests' device in one of three ways.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/ops/training/cross_entropy.h"
#include "tests/support/layout_run.h"
#include "tests/support/test_device.h"

namespace trireme::test {

struct SmallTraining {
  std::string name;
  int ranks;
  ModelFamily family;
  ParallelPlan plan = {};
  DType precision = DType::f32;
  bool master = true;
  RecomputeMode recomputation = RecomputeMode::none;
  std::vector<ParameterRule> rules = {};
  bool weighted = false;  ///< targets have weights, of some 0
};
inline void PrintTo(const SmallTraining& c, std::ostream* out) { *out << c.name; }

// How many targets count differs from step to step.
inline MicroBatch batch_of(Context& ctx, const ContextShare& share, int64_t number, bool weighted = false) {
  std::vector<int32_t> tokens(17);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((7 * i + number) % 37);
  std::vector<int32_t> targets(tokens.begin() + 1, tokens.end());
  for (int64_t i = 0; i < number % 4; ++i) targets[static_cast<size_t>(3 * i + 1)] = ops::kIgnoredTarget;
  std::vector<float> weights;
  for (size_t i = 0; weighted && i < targets.size(); ++i)
    weights.push_back(0.25f * static_cast<float>((5 * i + static_cast<size_t>(number)) % 7));
  return make_micro_batch(ctx, 2, 8, std::span(tokens).first(16), targets, share, std::nullopt, weights);
}

enum class Way { at_once, late, as_graph };

class Training {
 public:
  Training(Communicator& world, const SmallTraining& c, Way way)
      : way_(way),
        weighted_(c.weighted),
        session_(ctx_, world, with_small_buckets(c.plan), tiny_model(c.family),
                 {.max_seq_len = 8,
                  .precision = c.precision,
                  .master = c.master,
                  .rules = c.rules,
                  .recomputation = {.mode = c.recomputation},
                  .seed = 7,
                  .step = {.use_graph = way == Way::as_graph}}) {}

  /// Each step with another learning rate.
  void train(int64_t num_steps, int64_t num_batches = 2) {
    for (int64_t i = 0; i < num_steps; ++i, ++steps_) {
      std::vector<MicroBatch> batches;
      for (int64_t m = 0; m < num_batches; ++m)
        batches.push_back(batch_of(ctx_, session_.share(), 3 * steps_ + m, weighted_));
      const double lr = 1e-2 / static_cast<double>(steps_ + 1);
      PendingStep pending = session_.step().forward_backward(batches);
      StepNumbers now = pending.numbers();
      if (way_ == Way::at_once) read(now);
      session_.step().apply(std::move(pending), lr);
      if (way_ == Way::at_once) continue;
      if (before_) read(*before_);
      before_ = std::move(now);
    }
  }
  void evaluate() {
    MicroBatch batch = batch_of(ctx_, session_.share(), 100);
    evaluations_.push_back(session_.step().evaluate({&batch, 1}).mean_loss());
  }
  /// Losses and norms of all steps, losses of evaluations, and the weights of this rank.
  std::vector<double> results() {
    if (before_) read(*std::exchange(before_, std::nullopt));
    std::vector<double> all = numbers_;
    all.insert(all.end(), evaluations_.begin(), evaluations_.end());
    for (size_t chunk = 0; chunk < session_.part().chunks.size(); ++chunk) {
      session_.step().for_each_parameter(chunk, ParameterState::master,
                                         [&](const Parameter&, const Tensor& t) {
                                           const auto values = ops::to_host_f32(ctx_, t);
                                           all.insert(all.end(), values.begin(), values.end());
                                         });
    }
    return all;
  }

 private:
  static ParallelPlan with_small_buckets(ParallelPlan plan) {
    plan.bucket_mib = in_mib(16 << 10);
    return plan;
  }
  void read(const StepNumbers& n) {
    numbers_.push_back(n.totals().mean_loss());
    numbers_.push_back(n.gradient_norm());
  }

  Way way_;
  bool weighted_;
  Context ctx_{test_device(), 1, test_settings()};
  TrainingSession session_;
  int64_t steps_ = 0;
  std::optional<StepNumbers> before_;
  std::vector<double> numbers_, evaluations_;
};

}  // namespace trireme::test
