// A student learns the same from a teacher in every layout, and the teacher's logits take little memory.
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "models/layers/distillation.h"
#include "models/session/stepwise_run.h"
#include "models/session/training_session.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

// Logits, or few tokens, that depend on the token and its place alone.
class DrawnTeacher final : public TeacherRows {
 public:
  DrawnTeacher(const TensorParallel& tensor, const MicroBatch& mb, int64_t vocab_size, TeacherTokens kind)
      : tensor_(tensor), tokens_(mb.tokens), places_(mb.places_in_sequence()), v_(vocab_size), kind_(kind) {}

  RowTeacher rows(Context& ctx, int64_t begin, int64_t end) const override {
    if (kind_ == TeacherTokens::all) {
      const Part part = tensor_.part(v_);
      const Tensor logits = Tensor::empty(ctx, {end - begin, part.size()}, DType::f32);
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t c = part.begin; c < part.end; ++c) {
          const bool absent = c >= v_ - 4;  // its vocabulary ends earlier
          logits.data<float>()[(r - begin) * part.size() + c - part.begin] =
              absent ? -INFINITY : 2 * philox_normal4(key(r), static_cast<uint64_t>(c), 7)[0];
        }
      }
      return {.logits = logits, .soft_cap = 3};
    }
    constexpr int64_t kFew = 5;
    const Tensor ids = Tensor::empty(ctx, {end - begin, kFew}, DType::i32),
                 probabilities = Tensor::empty(ctx, {end - begin, kFew}, DType::f32);
    const bool has_rest = kind_ == TeacherTokens::top_k;
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < kFew; ++i) {
        const int64_t at = (r - begin) * kFew + i;
        ids.data<int32_t>()[at] =
            static_cast<int32_t>((key(r) + 9 * static_cast<uint64_t>(i)) % static_cast<uint64_t>(v_));
        probabilities.data<float>()[at] = has_rest ? 0.05f * static_cast<float>(i + 1) : 0.2f;
      }
    }
    return {.ids = ids, .probabilities = probabilities, .has_rest = has_rest};
  }

 private:
  uint64_t key(int64_t r) const {
    return static_cast<uint64_t>(tokens_.data<int32_t>()[r] * 64 + places_.data<int32_t>()[r]);
  }

  TensorParallel tensor_;
  Tensor tokens_, places_;
  int64_t v_;
  TeacherTokens kind_;
};

struct Taught {
  ModelConfig model;
  DistillConfig distill = {};
  LossConfig loss = {};
  ParallelPlan plan = {};
  Recomputation recomputation = {};
  int64_t seq_len = 12, micro_batch = 1, global_batch = 4, steps = 2;
  bool has_teacher = true;
};

struct Learned {
  std::vector<double> losses, added, norms;
  NamedTensors gradients;  // of the first step, on rank 0
  int64_t peak = 0;        // bytes of activations
};

Learned learn(Communicator& world, const Taught& run) {
  Context ctx;
  TrainingSession session(
      ctx, world, run.plan, run.model,
      {.max_seq_len = run.seq_len,
       .recomputation = run.recomputation,
       .seed = 7,
       .loss = run.loss,
       .objective = run.has_teacher ? std::make_shared<Distillation>(run.loss, run.distill) : nullptr,
       .step = {.adamw = {.eps = 1e-4}}});
  StepwiseRun steps(session, {run.seq_len, run.micro_batch, run.global_batch},
                    [&](int64_t sample, int32_t* inputs, int32_t* targets) {
                      for (int64_t t = 0; t < run.seq_len; ++t) {
                        const auto s = static_cast<uint64_t>(sample), place = static_cast<uint64_t>(t);
                        const auto v = static_cast<uint32_t>(run.model.vocab_size);
                        inputs[t] = static_cast<int32_t>(philox4x32(99, s, place)[0] % v);
                        targets[t] = static_cast<int32_t>(philox4x32(99, s, place + 1)[0] % v);
                        if (t % 5 == 3) targets[t] = -1;
                      }
                    });
  ctx.allocator().reset_peaks();
  Learned learned;
  for (int64_t s = 0; s < run.steps; ++s) {
    auto batches = steps.read();
    for (MicroBatch& mb : batches) {
      if (run.has_teacher)
        mb.teacher = std::make_shared<DrawnTeacher>(TensorParallel(session.parallel()), mb,
                                                    run.model.vocab_size, run.distill.tokens);
    }
    const StepNumbers numbers = steps.run_passes(batches, 1);
    const BatchTotals totals = numbers.totals();
    learned.losses.push_back(totals.mean_loss());
    learned.added.push_back(totals.mean_of(totals.added_sum));
    learned.norms.push_back(numbers.gradient_norm());
    if (s == 0) learned.gradients = steps.collect(ParameterState::gradient);
    steps.apply(1e-3);
  }
  const auto activations = static_cast<size_t>(MemoryCategory::activations);
  learned.peak = ctx.allocator().stats().by_category[activations].peak;
  return learned;
}

Learned learn_on_threads(int size, const Taught& run) {
  std::vector<Learned> all(static_cast<size_t>(size));
  run_thread_ranks(size,
                   [&](Communicator& world) { all[static_cast<size_t>(world.rank())] = learn(world, run); });
  for (const Learned& other : all) {
    EXPECT_EQ(other.losses, all[0].losses);
    EXPECT_EQ(other.added, all[0].added);
    EXPECT_EQ(other.norms, all[0].norms);
  }
  return all[0];
}

Learned learn_alone(Taught run) {
  run.plan = {};
  return learn(*make_self_communicator(), run);
}

void expect_same(const Learned& got, const Learned& one) {
  for (size_t s = 0; s < one.losses.size(); ++s) {
    EXPECT_NEAR(got.losses[s], one.losses[s], 1e-5 * one.losses[s]);
    EXPECT_NEAR(got.added[s], one.added[s], 2e-5 * std::max(1.0, std::abs(one.added[s])));
    EXPECT_NEAR(got.norms[s], one.norms[s], (s == 0 ? 1e-5 : 1e-4) * one.norms[s]);
  }
  std::string worst;
  EXPECT_LT(largest_difference(got.gradients, one.gradients, worst), 1e-5) << worst;
}

TEST(DistillationLayouts, FollowOneRank) {
  struct Layout {
    const char* name;
    int size;
    ParallelPlan plan;
    LossConfig loss;
    Recomputation recomputation;
  };
  const Layout layouts[] = {
      {"tp 2", 2, {.data = 1, .tensor = 2}, {}, {}},
      {"tp 3 of 37 columns, in parts", 3, {.data = 1, .tensor = 3}, {.chunk_tokens = 5}, {}},
      {"tp 2 sequence, in parts", 2, {.data = 1, .tensor = 2, .sequence = true}, {.chunk_tokens = 5}, {}},
      {"tp 2 pp 2 sequence", 4, {.data = 1, .tensor = 2, .pipeline = 2, .sequence = true}, {0.01, 0.1}, {}},
      {"pp 2 recomputed", 2, {.data = 1, .pipeline = 2}, {.chunk_tokens = 7}, {.mode = RecomputeMode::full}},
      {"cp 2", 2, {.data = 1, .context = 2}, {}, {}},
      {"dp 2", 2, {.data = 2}, {}, {}}};
  int i = 0;
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(layout.name);
    Taught run{.model = tiny_model(i % 2 == 0 ? ModelFamily::gemma2 : ModelFamily::llama)};
    if (layout.size == 3) run.model.num_heads = run.model.num_kv_heads = 3, run.model.ffn_size = 42;
    run.distill.divergence = static_cast<DivergenceKind>(i % 5);
    run.distill.temperature = 1.5;
    run.distill.weight = 0.7;
    run.loss = layout.loss;
    for (const TeacherTokens kind : {TeacherTokens::all, TeacherTokens::top_k}) {
      run.distill.tokens = kind;
      run.plan = layout.plan;
      run.recomputation = layout.recomputation;
      const Learned got = learn_on_threads(layout.size, run);
      run.recomputation = {};
      run.loss.chunk_tokens = 0;
      expect_same(got, learn_alone(run));
      run.loss = layout.loss;
    }
    ++i;
  }
  Taught sampled{.model = tiny_model(ModelFamily::gpt2), .plan = {.data = 1, .tensor = 2}};
  sampled.distill.tokens = TeacherTokens::sampled;
  expect_same(learn_on_threads(2, sampled), learn_alone(sampled));
}

// A student between two layers' worth of quickstart's model: what counts is how activations and logits
// compare.
TEST(DistillationMemory, ATeachersLogitsAreAFiftiethOfTheActivationsAtMost) {
  Taught run{.model = tiny_model(ModelFamily::gpt2)};
  run.model.vocab_size = 1024;
  run.model.num_layers = 4;
  run.model.hidden_size = 96;
  run.model.ffn_size = 384;
  run.model.max_positions = run.seq_len = 128;
  run.micro_batch = run.global_batch = 16;
  run.steps = 1;
  const int64_t taught = learn_alone(run).peak;
  run.has_teacher = false;
  const int64_t whole = learn_alone(run).peak;
  run.loss.chunk_tokens = LossConfig().rows_at_once(2048, 4096, true);
  const int64_t in_parts = learn_alone(run).peak;
  RecordProperty("bytes", fmt::format("{} with a teacher, {} without in equal parts, {} all rows at once",
                                      taught, in_parts, whole));
  EXPECT_LE(taught, in_parts + in_parts / 50);
  EXPECT_LE(taught, whole);
}

}  // namespace
}  // namespace trireme::test
