// A non-finite value planted anywhere is noticed in that step by all ranks, named, and changes nothing.
#include "parallel/training/nonfinite.h"

#include <cmath>
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/injector.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

struct Layout {
  int ranks = 1;
  ParallelPlan plan;
  int zero_stage = 0;
  DType precision = DType::f32;
  ModelFamily family = ModelFamily::gpt2;
  NonFiniteCheck check = NonFiniteCheck::step;
  DType gradient_dtype = DType::f32;
};

constexpr int64_t kMicroBatches = 2;  // of a step, on each rank

// One rank's model and its steps.
class Rank {
 public:
  Rank(Communicator& world, const Layout& layout)
      : world_(world),
        session_(ctx_, world, plan_of(layout), tiny_model(layout.family),
                 {.max_seq_len = kLength,
                  .precision = layout.precision,
                  .seed = 7,
                  .step = {.check = layout.check}}) {}

  TrainingStep& step() { return session_.step(); }
  void observe(StageObserver& observer) {
    for (Stage& stage : session_.part().chunks) stage.observe(observer);
  }
  void ignore(StageObserver& observer) {
    for (Stage& stage : session_.part().chunks) stage.ignore(observer);
  }
  /// Makes `layer` of the injection, counted over the model, one of its stage, and moves the rank to one that
  /// holds it.
  Injection placed(Injection injection) {
    const std::vector<int>& begins = session_.model().placement();
    const auto layer = static_cast<int>(injection.layer);
    while (begins[static_cast<size_t>(injection.stage) + 1] <= layer) ++injection.stage;
    injection.layer = static_cast<size_t>(layer - begins[static_cast<size_t>(injection.stage)]);
    const int stages = session_.parallel().pipeline().size(), others = world_.size() / stages;
    injection.rank = injection.stage % stages * others + injection.rank % others;
    return injection;
  }
  ParameterStorage& storage() { return session_.storage(); }

  std::vector<MicroBatch> batches(int64_t step) {
    const Communicator& data = session_.parallel().data();
    std::vector<MicroBatch> out;
    for (int64_t m = 0; m < kMicroBatches; ++m) {
      const int64_t sample = 2 * ((step * kMicroBatches + m) * data.size() + data.rank());
      std::vector<int32_t> tokens(2 * kLength + 1);
      for (size_t t = 0; t < tokens.size(); ++t) {
        tokens[t] = static_cast<int32_t>(philox4x32(5, static_cast<uint64_t>(sample), t)[0] % 37);
      }
      const std::span<const int32_t> all(tokens);
      out.push_back(
          make_micro_batch(ctx_, 2, kLength, all.first(2 * kLength), all.subspan(1), session_.share()));
      out.back().first_sample = sample;
    }
    return out;
  }
  void train(int64_t step) {
    auto micro_batches = batches(step);
    PendingStep pending = session_.step().forward_backward(micro_batches, 64);
    ASSERT_TRUE(std::isfinite(pending.gradient_norm()));
    session_.step().apply(std::move(pending), 1e-3);
  }
  std::vector<float> weights() {
    std::vector<float> all;
    for (size_t chunk = 0; chunk < session_.part().chunks.size(); ++chunk) {
      step().for_each_parameter(chunk, ParameterState::master, [&](const Parameter&, const Tensor& t) {
        const auto values = to_vector(t);
        all.insert(all.end(), values.begin(), values.end());
      });
    }
    for (const ParameterGroup& group : storage().groups()) {
      const auto values = to_vector(group.weights);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

 private:
  static constexpr int64_t kLength = 8;
  static ParallelPlan plan_of(const Layout& layout) {
    ParallelPlan plan = layout.plan;
    plan.zero_stage = layout.zero_stage;
    plan.bucket_mib = in_mib(20000);
    plan.gradient_dtype = layout.gradient_dtype;
    return plan;
  }
  Communicator& world_;
  Context ctx_;
  TrainingSession session_;
};

// Steps 0 and 2, and between them, where there is an injection, a step 1 that is skipped.
std::vector<std::vector<float>> run(const Layout& layout, const std::optional<Injection>& injection,
                                    std::optional<NonFinite>& planted,
                                    std::vector<std::optional<NonFinite>>& found) {
  std::vector<std::vector<float>> weights(static_cast<size_t>(layout.ranks));
  found.assign(weights.size(), std::nullopt);
  run_thread_ranks(layout.ranks, [&](Communicator& world) {
    const auto me = static_cast<size_t>(world.rank());
    Rank rank(world, layout);
    rank.train(0);
    if (injection) {
      Injector injector(rank.placed(*injection), world.rank());
      rank.observe(injector);
      auto micro_batches = rank.batches(1);
      PendingStep pending = rank.step().forward_backward(micro_batches, 64);
      EXPECT_FALSE(std::isfinite(pending.gradient_norm()))
          << "rank " << me << " of " << layout.ranks << ", ZeRO " << layout.zero_stage << ": "
          << (injector.planted() ? describe(*injector.planted()) : "planted elsewhere");
      found[me] = rank.step().find_nonfinite(pending);
      rank.step().skip(std::move(pending));
      rank.ignore(injector);
      injector.restore();
      if (injector.planted()) planted = injector.planted();
    }
    rank.train(2);
    weights[me] = rank.weights();
  });
  return weights;
}

std::vector<Layout> layouts() {
  std::vector<Layout> out;
  const auto add = [&](int ranks, ParallelPlan plan, int zero, DType precision, ModelFamily family,
                       NonFiniteCheck check = NonFiniteCheck::step, DType sent = DType::f32) {
    out.push_back({ranks, std::move(plan), zero, precision, family, check, sent});
  };
  using enum ModelFamily;
  add(1, {}, 0, DType::f32, gpt2);
  add(2, {}, 0, DType::bf16, llama, NonFiniteCheck::op);
  add(3, {}, 2, DType::f16, gpt2);
  add(2, {}, 1, DType::f16, llama, NonFiniteCheck::step, DType::f16);
  add(2, {.tensor = 2}, 0, DType::f16, gpt2);
  add(4, {.tensor = 4}, 0, DType::f32, llama);
  add(2, {.tensor = 2, .sequence = true}, 0, DType::bf16, gpt2);
  add(4, {.tensor = 2}, 0, DType::bf16, llama, NonFiniteCheck::op);
  add(2, {}, 3, DType::bf16, gpt2);
  add(2, {.context = 2}, 1, DType::bf16, llama);
  add(2, {.pipeline = 2}, 0, DType::f32, gpt2);
  add(4, {.pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 2}, 1, DType::f16, llama);
  add(8, {.tensor = 2, .pipeline = 2, .schedule = ScheduleKind::zb_h1}, 0, DType::bf16, gpt2,
      NonFiniteCheck::op);
  add(4, {.tensor = 2, .sequence = true}, 2, DType::f16, gpt2, NonFiniteCheck::op, DType::bf16);
  return out;
}

// Every layer has weights, all but the last an output and all but the first an input with a gradient.
Injection random_injection(std::mt19937& random, int ranks, NonFiniteKind kind) {
  constexpr float kValues[] = {INFINITY, -INFINITY, NAN};
  constexpr size_t kLayers = 5;
  Injection out;
  out.kind = kind;
  out.of_weight = kind == NonFiniteKind::gradient && random() % 2 == 0;
  out.rank = static_cast<int>(random() % static_cast<uint32_t>(ranks));
  out.micro_batch = kind == NonFiniteKind::weight ? 0 : static_cast<int64_t>(random() % kMicroBatches);
  out.layer = random() % (kind == NonFiniteKind::activation ? kLayers - 1 : kLayers);
  if (kind == NonFiniteKind::gradient && !out.of_weight) out.layer = 1 + random() % (kLayers - 1);
  out.choice = random();
  out.value = kValues[random() % 3];
  return out;
}

// What nothing reads changes nothing and is not noticed: a row of a table that no token looks up, unless the
// head is tied to this very copy of the table, and the gradient of a token's vector on a tensor rank that
// does not hold the token.
bool takes_part(const Injection& injection, const Layout& layout) {
  if (injection.kind == NonFiniteKind::weight && injection.layer == 0) {
    return layout.family == ModelFamily::gpt2 && layout.plan.pipeline == 1 && layout.zero_stage < 3;
  }
  const bool is_of_embedding =
      injection.kind == NonFiniteKind::gradient && !injection.of_weight && injection.layer == 1;
  return !is_of_embedding || layout.plan.tensor == 1 || layout.plan.sequence;
}

TEST(NonFinite, HundredRandomInjectionsAreNoticedNamedAndWithoutEffect) {
  std::mt19937 random(20231114);
  const auto all = layouts();
  std::map<size_t, std::vector<std::vector<float>>> clean;
  std::map<NonFiniteKind, int> kinds;
  for (int count = 0; count < 100;) {
    const size_t which = static_cast<size_t>(count) % all.size();
    const Layout& layout = all[which];
    const auto kind = static_cast<NonFiniteKind>(random() % 3);
    const Injection injection = random_injection(random, layout.ranks, kind);
    if (!takes_part(injection, layout)) continue;
    SCOPED_TRACE(fmt::format("injection {}: layout {}, kind {}, rank {}, layer {}, choice {}", count, which,
                             to_string(kind), injection.rank, injection.layer, injection.choice));
    ++count;
    ++kinds[kind];
    std::optional<NonFinite> planted, none;
    std::vector<std::optional<NonFinite>> found, unused;
    if (!clean.contains(which)) clean[which] = run(layout, std::nullopt, none, unused);
    const auto weights = run(layout, injection, planted, found);
    ASSERT_TRUE(planted);
    for (const auto& by_rank : found) {
      ASSERT_TRUE(by_rank);
      EXPECT_EQ(*by_rank, *planted) << describe(*by_rank) << ", planted " << describe(*planted);
    }
    EXPECT_TRUE(weights == clean[which]) << "a skipped step left a trace";
  }
  for (const auto& [kind, number] : kinds) EXPECT_GT(number, 20) << to_string(kind);
}

// The norm counts a gain that all tensor ranks hold on the first of them only.
TEST(NonFinite, CopiesThatTheNormDoesNotCountAreNoticed) {
  for (const int zero_stage : {0, 1, 2}) {
    for (const int rank : {1, 3}) {
      Layout layout{.ranks = 4, .plan = {.tensor = 2}, .zero_stage = zero_stage};
      const Injection injection{.kind = NonFiniteKind::gradient,
                                .of_weight = true,
                                .rank = rank,
                                .micro_batch = 1,
                                .layer = 2,
                                .value = INFINITY};
      std::optional<NonFinite> planted;
      std::vector<std::optional<NonFinite>> found;
      run(layout, injection, planted, found);
      ASSERT_TRUE(planted);
      EXPECT_EQ(planted->tensor, "layers.1.attention_norm.gain");
      for (const auto& by_rank : found) EXPECT_EQ(by_rank, planted);
    }
  }
}

TEST(NonFinite, WithoutChecksAStepIsSkippedAllTheSame) {
  Layout layout;
  layout.ranks = 2;
  layout.check = NonFiniteCheck::off;
  std::optional<NonFinite> planted, none;
  std::vector<std::optional<NonFinite>> found, unused;
  const auto weights = run(layout, Injection{.rank = 1, .layer = 2, .value = NAN}, planted, found);
  EXPECT_TRUE(planted);
  EXPECT_FALSE(found[0] || found[1]);
  EXPECT_TRUE(weights == run(layout, std::nullopt, none, unused));
}

// Every rank's gradient fits fp16, their sum does not.
TEST(NonFinite, ASumOfFiniteGradientsThatOverflowsIsNamedAsSuch) {
  run_thread_ranks(2, [](Communicator& world) {
    Layout layout;
    layout.ranks = 2;
    layout.gradient_dtype = DType::f16;
    Rank rank(world, layout);
    class Large final : public StageObserver {
      void after_backward_weight(Context&, const ObservedLayer& layer) override {
        if (layer.name == "layers.1") layer.blocks[0]->gradient.data<float>()[3] = 40000;
      }
    } large;
    rank.observe(large);
    auto micro_batches = rank.batches(0);
    PendingStep pending = rank.step().forward_backward(micro_batches);
    EXPECT_FALSE(std::isfinite(pending.gradient_norm()));
    const auto found = rank.step().find_nonfinite(pending);
    ASSERT_TRUE(found);
    EXPECT_EQ(describe(*found), "gradient: layers.1.attention_norm.gain, element 3, on rank 0");
  });
}

TEST(NonFinite, WeightsThatWouldBeStoredAreLookedAt) {
  for (const int zero_stage : {0, 1}) {
    run_thread_ranks(2, [&](Communicator& world) {
      Layout layout;
      layout.precision = DType::bf16;
      layout.zero_stage = zero_stage;
      Rank rank(world, layout);
      EXPECT_FALSE(rank.step().find_nonfinite_weight());
      const auto group = rank.storage().groups()[0];
      const Tensor own = group.own_shard(group.buckets[0], group.master);
      if (world.rank() == 1) own.data<float>()[0] = NAN;
      const auto found = rank.step().find_nonfinite_weight();
      ASSERT_TRUE(found);
      EXPECT_EQ(found->kind, NonFiniteKind::weight);
      EXPECT_EQ(found->rank, 1);
      EXPECT_FALSE(found->tensor.empty());
    });
  }
}

TEST(NonFinite, AScaleThatIsTooLargeForFp16IsAnOverflowOfAGradient) {
  run_thread_ranks(2, [](Communicator& world) {
    Layout layout;
    layout.precision = DType::f16;
    layout.plan.tensor = 2;
    Rank rank(world, layout);
    auto micro_batches = rank.batches(0);
    PendingStep pending = rank.step().forward_backward(micro_batches, 0x1p24);
    EXPECT_TRUE(std::isfinite(pending.totals().loss_sum));
    EXPECT_FALSE(std::isfinite(pending.gradient_norm()));
    const auto found = rank.step().find_nonfinite(pending);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->kind, NonFiniteKind::gradient);
    EXPECT_EQ(found->micro_batch, 0);
  });
}

TEST(NonFinite, IsDescribedInOneLine) {
  const NonFinite found{NonFiniteKind::activation, "layers.3", "output", 17, 1, 0, 4, 2};
  EXPECT_EQ(describe(found),
            "activation: output of layers.3, element 17, on rank 1, micro-batch 0 (samples 4 to 5)");
}

}  // namespace
}  // namespace trireme::test
