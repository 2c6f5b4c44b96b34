// Which rows of a paged batch a rank passes to experts: every row goes once, and comes back to all ranks.
#include "parallel/expert_parallel/expert_rows.h"

#include <gtest/gtest.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

TEST(ExpertRows, RanksWithTheSameTokensDivideThem) {
  const ParallelPlan plans[] = {{.data = 4, .expert = 4},
                                {.data = 4, .expert = 2},
                                {.data = 2, .tensor = 2, .expert = 2},
                                {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1},
                                {.data = 2, .tensor = 2, .expert = 4, .expert_tensor = 1, .sequence = true},
                                {.data = 1, .tensor = 4, .expert = 1, .expert_tensor = 2}};
  for (const ParallelPlan& plan : plans) {
    SCOPED_TRACE(testing::Message() << plan.data << " x " << plan.tensor << " ranks, experts on "
                                    << plan.expert);
    run_thread_ranks(plan.world_size(), [&](Communicator& world) {
      Context ctx;
      const ParallelContext parallel(world, plan);
      const ExpertParallel experts(parallel);
      for (const int64_t n : {1, 3, 8}) {
        MicroBatch batch;
        batch.batch = 1;
        batch.seq_len = n;
        batch.training = false;
        batch.paged = std::make_shared<PagedBatch>();
        const ExpertRows rows(TensorParallel(parallel), experts, batch);
        const Tensor x = random_tensor(ctx, {n, 5}, DType::f32, 1);
        const Tensor taken = Tensor::empty(ctx, {rows.passed().size(), 5}, DType::f32);
        if (taken.numel() > 0) ops::copy(ctx, rows.take(ctx, x), taken);

        std::vector<float> times(static_cast<size_t>(n), 0.0F);
        for (int64_t r = rows.passed().begin; r < rows.passed().end; ++r) times[static_cast<size_t>(r)] = 1;
        const Tensor sum = make_tensor(ctx, {n}, DType::f32, times);
        experts.group().all_reduce(ctx.stream(), sum);
        if (plan.expert >= plan.expert_row_shards()) {
          EXPECT_EQ(to_vector(sum), std::vector<float>(times.size(), 1.0F));
        }

        // Each rank of an expert's width has a term of what it makes.
        if (taken.numel() > 0) ops::scale(ctx, taken, 1.0F / static_cast<float>(experts.width().size()));
        EXPECT_EQ(to_vector(rows.give(ctx, taken)), to_vector(x));
      }
    });
  }
}

}  // namespace
}  // namespace trireme::test
