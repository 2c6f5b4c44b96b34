// The executor alone, over stages of layers that only note what was asked of them.
#include "parallel/pipeline/pipeline_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/check_schedule.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

// y = 2x + 1, dx = 3 dy; the ends begin with the micro-batch's number of targets. So values tell how many
// stages a micro-batch has passed.
class Affine final : public Layer {
 public:
  Affine(bool is_first, bool is_last, std::vector<std::string>& notes)
      : is_first_(is_first), is_last_(is_last), notes_(notes) {}

  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    EXPECT_EQ(static_cast<bool>(x), !is_first_);
    saved.emplace<int64_t>() = mb.batch;
    const float value = x ? 2 * to_vector(x)[0] + 1 : static_cast<float>(mb.batch);
    notes_.push_back(fmt::format("F {}: {}", mb.batch, value));
    return is_last_ ? Tensor() : filled(ctx, mb.rows(), value);
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override {
    const int64_t mb = saved.get<int64_t>();
    EXPECT_EQ(static_cast<bool>(dy), !is_last_);
    const float value = dy ? 3 * to_vector(dy)[0] : static_cast<float>(mb);
    notes_.push_back(fmt::format("B {}: {}", mb, value));
    return is_first_ ? Tensor() : filled(ctx, mb, value);
  }
  void backward_weight(Context&, Saved& saved) override {
    notes_.push_back(fmt::format("W {}", saved.get<int64_t>()));
    saved.clear();
  }
  void collect(std::vector<ParameterBlock*>&) override {}

 private:
  static Tensor filled(Context& ctx, int64_t rows, float value) {
    const Tensor t = Tensor::empty(ctx, {rows, 1}, DType::f32);
    ops::fill(ctx, t, value);
    return t;
  }
  bool is_first_, is_last_;
  std::vector<std::string>& notes_;
};

// Micro-batch m has m + 1 rows and as many targets: messages differ in size.
std::vector<MicroBatch> micro_batches(int num) {
  std::vector<MicroBatch> out(static_cast<size_t>(num));
  for (int m = 0; m < num; ++m) {
    auto& mb = out[static_cast<size_t>(m)];
    mb.batch = m + 1;
    mb.seq_len = 1;
  }
  return out;
}

struct Pipeline {
  std::vector<std::string> notes;
  ModelPart part;

  Pipeline(int rank, int num_ranks, int num_chunks) {
    for (int c = 0; c < num_chunks; ++c) {
      const int v = c * num_ranks + rank;
      std::vector<std::unique_ptr<Layer>> layers;
      layers.push_back(std::make_unique<Affine>(v == 0, v == num_ranks * num_chunks - 1, notes));
      part.chunks.emplace_back(std::move(layers));
    }
    part.boundary = {1, DType::f32, [](const TokenBatch& mb) { return mb.rows(); }};
  }
};

class PipelineExecutorOf : public testing::TestWithParam<std::tuple<ScheduleKind, int, int>> {};

TEST_P(PipelineExecutorOf, PassesEveryTensorToItsPlace) {
  const auto& [kind, num_stages, num_micro_batches] = GetParam();
  const int num_chunks = kind == ScheduleKind::interleaved ? 2 : 1;
  const Schedule schedule = make_schedule(kind, num_stages, num_micro_batches, num_chunks);
  std::vector<std::vector<std::string>> notes(static_cast<size_t>(num_stages));
  const auto run = [&, n = num_micro_batches](Communicator& world) {
    Context ctx;
    Pipeline pipeline(world.rank(), world.size(), num_chunks);
    PipelineExecutor executor(world, pipeline.part);
    auto batches = micro_batches(n);
    int num_ready = 0;
    executor.run(ctx, schedule, batches, {{}, [&](std::span<ParameterBlock* const>) { ++num_ready; }});
    EXPECT_EQ(num_ready, num_chunks);
    EXPECT_GT(executor.times().total_s, 0);
    notes[static_cast<size_t>(world.rank())] = pipeline.notes;
  };
  if (num_stages == 1) {
    run(*make_self_communicator());
  } else {
    run_thread_ranks(num_stages, run);
  }
  const int last = num_stages * num_chunks - 1;
  for (int m = 1; m <= num_micro_batches; ++m) {
    double value = m, gradient = m * std::pow(3, last);
    for (int v = 0; v <= last; ++v) {
      const auto& mine = notes[static_cast<size_t>(v % num_stages)];
      EXPECT_THAT(mine, testing::Contains(fmt::format("F {}: {}", m, value))) << "virtual stage " << v;
      EXPECT_THAT(mine, testing::Contains(fmt::format("B {}: {}", m, gradient))) << "virtual stage " << v;
      EXPECT_THAT(mine, testing::Contains(fmt::format("W {}", m)).Times(num_chunks));
      value = 2 * value + 1;
      gradient /= 3;
    }
  }
  for (const auto& mine : notes)
    EXPECT_EQ(mine.size(), static_cast<size_t>(3 * num_chunks * num_micro_batches));
}

INSTANTIATE_TEST_SUITE_P(All, PipelineExecutorOf,
                         testing::Combine(testing::Values(ScheduleKind::gpipe, ScheduleKind::one_f_one_b,
                                                          ScheduleKind::zb_h1, ScheduleKind::interleaved),
                                          testing::Values(1, 2, 3, 5), testing::Values(1, 2, 7)),
                         [](const auto& p) {
                           std::string kind(to_string(std::get<0>(p.param)));
                           std::erase(kind, '-');
                           return fmt::format("{}_stages{}_micro_batches{}", kind, std::get<1>(p.param),
                                              std::get<2>(p.param));
                         });

// Fails on its second forward pass.
class Failing final : public Layer {
 public:
  Tensor forward(Context&, const MicroBatch&, const Tensor& x, Saved&) override {
    if (++num_ == 2) throw_user(ExitCode::numerics, "planted");
    return x;
  }
  Tensor backward_input(Context&, const Tensor& dy, Saved&) override { return dy; }
  void backward_weight(Context&, Saved&) override {}
  void collect(std::vector<ParameterBlock*>&) override {}

 private:
  int num_ = 0;
};

TEST(PipelineExecutor, AStageThatThrowsWakesAllOthers) {
  const Schedule schedule = make_schedule(ScheduleKind::one_f_one_b, 4, 6);
  try {
    run_thread_ranks(4, [&](Communicator& world) {
      Context ctx;
      Pipeline pipeline(world.rank(), world.size(), 1);
      if (world.rank() == 2) {
        std::vector<std::unique_ptr<Layer>> layers;
        layers.push_back(std::make_unique<Failing>());
        pipeline.part.chunks[0] = Stage(std::move(layers));
      }
      auto batches = micro_batches(6);
      PipelineExecutor(world, pipeline.part).run(ctx, schedule, batches);
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("planted"));
  }
}

TEST(PipelineExecutor, StagesWithDifferentOrdersOfMicroBatchesAreNamed) {
  for (const ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b, ScheduleKind::zb_h1}) {
    try {
      run_thread_ranks(2, [&](Communicator& world) {
        Context ctx;
        Pipeline pipeline(world.rank(), world.size(), 1);
        Schedule schedule = make_schedule(kind, 2, 2);
        if (world.rank() == 1) {
          for (auto& actions : schedule.actions_of_stage) {
            for (Action& action : actions) action.micro_batch = 1 - action.micro_batch;
          }
        }
        auto batches = micro_batches(2);
        PipelineExecutor(world, pipeline.part).run(ctx, schedule, batches);
      });
      FAIL() << "nothing was thrown";
    } catch (const InternalError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("of activation 1.0, rank 0 sent"));
      EXPECT_THAT(error.what(), testing::HasSubstr("of activation 0.0"));
    }
  }
}

TEST(PipelineExecutor, AScheduleForAnotherPipelineIsADefect) {
  const auto self = make_self_communicator();
  Context ctx;
  Pipeline pipeline(0, 1, 1);
  auto batches = micro_batches(2);
  PipelineExecutor executor(*self, pipeline.part);
  EXPECT_THROW(executor.run(ctx, make_schedule(ScheduleKind::one_f_one_b, 2, 2), batches), InternalError);
  EXPECT_THROW(executor.run(ctx, make_schedule(ScheduleKind::one_f_one_b, 1, 3), batches), InternalError);
}

}  // namespace
}  // namespace trireme::test
