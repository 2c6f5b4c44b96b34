// A step is begun, and then applied or skipped: once, and before the next one begins.
#include "parallel/training/pending_step.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

class PendingStep : public testing::Test, public StageObserver {
 protected:
  PendingStep()
      : self_(make_self_communicator()),
        session_(ctx_, *self_, {}, tiny_model(ModelFamily::gpt2), {.max_seq_len = 8, .seed = 7}),
        step_(session_.step()) {
    for (Stage& stage : session_.part().chunks) stage.observe(*this);
  }

  void after_backward_weight(Context&, const ObservedLayer& layer) override {
    if (spoils_ && layer.name == "layers.1") layer.blocks[0]->gradient.data<float>()[3] = INFINITY;
  }

  trireme::PendingStep passes(int32_t first) {
    std::vector<int32_t> tokens(9);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(first + 4 * i) % 37;
    const std::span<const int32_t> all(tokens);
    batch_ = make_micro_batch(ctx_, 1, 8, all.first(8), all.last(8));
    return step_.forward_backward({&batch_, 1}, 64);
  }
  /// Of the matrices.
  std::vector<float> weights() { return to_vector(session_.storage().groups()[0].weights); }

  static void expect_defect(const std::function<void()>& call, const char* words) {
    try {
      call();
      ADD_FAILURE() << "nothing was thrown: " << words;
    } catch (const InternalError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(words));
    }
  }

  Context ctx_;
  std::unique_ptr<Communicator> self_;
  TrainingSession session_;
  TrainingStep& step_;
  MicroBatch batch_;
  bool spoils_ = false;
};

TEST_F(PendingStep, OneThatIsDroppedIsToldByTheNextStep) {
  { const auto dropped = passes(1); }
  expect_defect([&] { (void)passes(2); }, "step 1 was neither applied nor skipped");
}

TEST_F(PendingStep, AnExceptionUnderWayIsNotInTheWay) {
  const auto fails = [&] {
    const auto pending = passes(1);
    throw std::runtime_error("planted");
  };
  EXPECT_THROW(fails(), std::runtime_error);
}

TEST_F(PendingStep, IsConsumedOnce) {
  auto pending = passes(1);
  auto moved = std::move(pending);
  expect_defect([&] { step_.apply(std::move(pending), 1e-3); }, "already applied or skipped");
  step_.apply(std::move(moved), 1e-3);
  expect_defect([&] { step_.skip(std::move(moved)); }, "already applied or skipped");
}

TEST_F(PendingStep, OfAnotherStepIsRefused) {
  TrainingSession other(ctx_, *self_, {}, tiny_model(ModelFamily::gpt2), {.max_seq_len = 8});
  auto mine = passes(1);
  auto others = other.step().forward_backward({&batch_, 1});
  expect_defect([&] { step_.apply(std::move(others), 1e-3); }, "another TrainingStep");
  step_.skip(std::move(mine));
}

TEST_F(PendingStep, ASkippedStepChangesNothing) {
  const auto before = weights();
  step_.skip(passes(1));
  EXPECT_EQ(weights(), before);
  auto pending = passes(2);
  const double norm = pending.gradient_norm();
  step_.skip(std::move(pending));
  pending = passes(2);
  EXPECT_EQ(pending.gradient_norm(), norm) << "gradients of a skipped step are left";
  step_.apply(std::move(pending), 1e-3);
  EXPECT_NE(weights(), before);
}

TEST_F(PendingStep, NumbersOutliveTheStep) {
  auto pending = passes(1);
  const double norm = pending.gradient_norm(), loss = pending.totals().mean_loss();
  const StepNumbers numbers = pending.numbers();
  step_.apply(std::move(pending), 1e-3);
  step_.apply(passes(2), 1e-3);
  EXPECT_EQ(numbers.gradient_norm(), norm);
  EXPECT_EQ(numbers.totals().mean_loss(), loss);
  EXPECT_EQ(numbers.totals().weight, 8);
}

TEST_F(PendingStep, ANormThatIsNotFiniteHaltsUntilASkip) {
  step_.apply(passes(1), 1e-3);
  const auto good = weights();
  spoils_ = true;
  auto spoilt = passes(2);
  const StepNumbers numbers = spoilt.numbers();
  step_.apply(std::move(spoilt), 1e-3);
  spoils_ = false;
  step_.apply(passes(3), 1e-3);  // begun before anybody has read the numbers
  EXPECT_EQ(weights(), good) << "a halted step changes weights";
  EXPECT_FALSE(std::isfinite(numbers.gradient_norm()));
  spoils_ = true;
  auto again = passes(2);
  const auto found = step_.find_nonfinite(again);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layer, "layers.1");
  expect_defect([&] { step_.apply(std::move(again), 1e-3); }, "searched");
  spoils_ = false;
  step_.skip(passes(3));
  step_.apply(passes(4), 1e-3);
  EXPECT_NE(weights(), good) << "a skip does not end the halt";
}

}  // namespace
}  // namespace trireme::test
