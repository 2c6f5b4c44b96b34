// Training over NCCL's stand-in, which refuses what NCCL's rules forbid, in every layout, with calls and
// operations held up at random: it ends, and its numbers are the same. Memory near its limit changes nothing
// either.
#include <deque>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/cuda_on_host/device_memory.h"
#include "tests/support/cuda_on_host/launch.h"
#include "tests/support/cuda_on_host/training_cases.h"
#include "tests/support/drawn_layout.h"
#include "tests/support/nccl_on_host/nccl_ranks.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

LayoutResult train_over_nccl(const LayoutRun& run, uint64_t delays) {
  nccl_on_host::delay(delays);
  // What is looked at is the order of calls: the kernels are tested elsewhere.
  const bool before = std::exchange(cuda_on_host::compares_orders, false);
  const std::shared_ptr<void> reset(nullptr, [before](void*) {
    cuda_on_host::compares_orders = before;
    nccl_on_host::delay(0);
  });
  LayoutResult result;
  run_nccl_ranks(run.plan.world_size(), [&](Communicator& world, Device device) {
    LayoutRun mine = run;
    mine.device = device;
    LayoutResult of_rank = run_layout(world, mine);
    if (world.rank() == 0) result = std::move(of_rank);
  });
  return result;
}

void expect_same(const LayoutResult& a, const LayoutResult& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.norms, b.norms);
  EXPECT_EQ(a.gradients, b.gradients);
  EXPECT_EQ(a.weights, b.weights);
}

std::vector<TrainingCase> cases_of_several() {
  auto all = training_cases();
  std::erase_if(all, [](const TrainingCase& c) { return c.ranks == 1; });
  for (TrainingCase& c : all)
    c.run.plan.data = c.ranks / (c.run.plan.tensor * c.run.plan.pipeline * c.run.plan.context);
  return all;
}

class NcclTraining : public testing::TestWithParam<TrainingCase> {};

TEST_P(NcclTraining, DelaysChangeNothing) {
  const LayoutRun& run = GetParam().run;
  const LayoutResult at_once = train_over_nccl(run, 0);
  expect_follows(at_once, run_on_one_rank(run));
  for (uint64_t seed = 1; seed <= (whole_tier() ? 100 : 2); ++seed) {
    SCOPED_TRACE(seed);
    expect_same(train_over_nccl(run, test_seed() * 1000 + seed), at_once);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, NcclTraining, testing::ValuesIn(cases_of_several()),
                         [](const auto& test_info) { return test_info.param.name; });

/// Layouts drawn from all strategies together, each with delays of its own.
class DrawnNcclTraining : public testing::TestWithParam<uint64_t> {};

TEST_P(DrawnNcclTraining, FollowsOneRank) {
  LayoutRun run = draw_layout(GetParam());
  if (GetParam() % 3 == 0) draw_sharing(GetParam(), run);
  run.steps = 2;
  SCOPED_TRACE(text_of(run));
  LayoutRun plain = run;
  plain.recomputation = {};
  expect_follows(train_over_nccl(run, 1 + GetParam()), run_on_one_rank(plain));
}

// Others than the layouts over threads.
const uint64_t kFirst = test_seed() * 1000 + 500;
INSTANTIATE_TEST_SUITE_P(Drawn, DrawnNcclTraining, testing::Range(kFirst, kFirst + (whole_tier() ? 100 : 3)),
                         [](const auto& p) { return std::to_string(p.param); });

/// A row of ranks that hand tensors on as pipelines do: what comes next is received before this one is worked
/// on, with tensors of many sizes beside it, in little more memory than is in use at once.
TEST(NcclMemory, APipelineGoesOnNearItsLimit) {
  constexpr int kRanks = 4, kRounds = 40, kSettled = 15;
  constexpr size_t kLimit = size_t{128} << 20;
  constexpr int64_t kMiB = 1 << 20;
  run_nccl_ranks(kRanks, [&](Communicator& world, Device device) {
    cuda_on_host::limit_device_memory(kLimit);
    Context ctx(device);
    const auto size_of_round = [](int m) { return (1 + m % 5) * kMiB; };
    const int rank = world.rank();
    const auto receive = [&](int m) -> std::pair<Tensor, WorkPtr> {
      if (rank == 0 || m >= kRounds) return {};
      Tensor t = Tensor::empty(ctx, {size_of_round(m)}, DType::f32);
      WorkPtr work = world.receive_async(ctx.stream(), t, rank - 1);
      return {std::move(t), std::move(work)};
    };
    std::deque<std::pair<Tensor, WorkPtr>> sent;
    int64_t allocations = 0;
    auto next = receive(0);
    for (int m = 0; m < kRounds; ++m) {
      auto [input, work] = std::exchange(next, receive(m + 1));
      if (work) work->wait();
      if (rank == 0)
        input = make_tensor(ctx, {size_of_round(m)}, DType::f32, std::vector<float>(size_of_round(m), m));
      {
        std::vector<Tensor> beside;
        for (const int64_t size : {3 * kMiB, kMiB / 2, 7 * kMiB + m % 7 * 1000}) {
          beside.push_back(Tensor::empty(ctx, {size}, DType::f32));
        }
      }
      if (rank + 1 < kRanks) {
        WorkPtr sending = world.send_async(ctx.stream(), input, rank + 1);
        sent.emplace_back(input, std::move(sending));
        while (sent.size() > 2) {
          sent.front().second->wait();
          sent.pop_front();
        }
      } else {
        ASSERT_EQ(to_vector(input).back(), static_cast<float>(m));
      }
      if (m == kSettled) allocations = ctx.allocator().stats().num_device_allocations;
    }
    for (auto& [tensor, work] : sent) work->wait();
    ctx.stream().synchronize();
    EXPECT_EQ(ctx.allocator().stats().num_device_allocations, allocations) << "rank " << rank << " thrashes";
    EXPECT_GT(ctx.allocator().stats().total.peak, static_cast<int64_t>(kLimit) / 10 * 6)
        << "that is not near it";
  });
}

/// A receive that waits for its group, which waits for a rank that may wait for this one, will lie on the
/// device at any moment: to give memory back would be to wait for it.
TEST(NcclMemory, NothingIsGivenBackWhileAnOperationWaitsForItsGroup) {
  constexpr int64_t kMiB = 1 << 20;
  std::promise<void> may_come;
  run_nccl_ranks(2, [&](Communicator& world, Device device) {
    if (world.rank() == 1) {
      may_come.get_future().wait();
      Context ctx(device);
      world.send_async(ctx.stream(), make_tensor(ctx, {1}, DType::f32, {5}), 0)->wait();
      ctx.stream().synchronize();
      return;
    }
    cuda_on_host::limit_device_memory(static_cast<size_t>(96 * kMiB));
    Context ctx(device);
    const Tensor in = Tensor::empty(ctx, {1}, DType::f32);
    { const Tensor unused = Tensor::empty(ctx, {60 * kMiB}, DType::u8); }
    const WorkPtr arrives = world.receive_async(ctx.stream(), in, 1);
    EXPECT_THROW((void)Tensor::empty(ctx, {80 * kMiB}, DType::u8), OutOfMemory);
    may_come.set_value();
    arrives->wait();
    EXPECT_EQ(to_vector(in), std::vector<float>{5});
    EXPECT_NO_THROW((void)Tensor::empty(ctx, {80 * kMiB}, DType::u8));
  });
}

}  // namespace
}  // namespace trireme::test
