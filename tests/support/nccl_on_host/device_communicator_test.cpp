// Communicators on tensors of a device: NCCL's, and the others through memory of the host. Ranks are threads.
#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/nccl/nccl_group.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/runtime/comm/communicator_conformance.h"
#include "tests/support/expect_error.h"
#include "tests/support/nccl_on_host/registrations.h"

namespace trireme::test {
namespace {

void run_nccl_ranks(int num_ranks, const std::function<void(Communicator&)>& body) {
  run_thread_ranks(num_ranks, [&](Communicator& world) {
    const auto nccl = make_nccl_world(world.split(0, world.rank(), "world"), test_device());
    body(*nccl);
  });
}

std::string name_of(const testing::TestParamInfo<std::tuple<int, ConformanceCase>>& test_info) {
  return fmt::format("{}_{}_ranks", std::get<1>(test_info.param).name, std::get<0>(test_info.param));
}

class StagedConformance : public testing::TestWithParam<std::tuple<int, ConformanceCase>> {};
TEST_P(StagedConformance, Conforms) {
  run_thread_ranks(std::get<0>(GetParam()), std::get<1>(GetParam()).body);
}
INSTANTIATE_TEST_SUITE_P(All, StagedConformance,
                         testing::Combine(testing::Values(1, 2, 3), testing::ValuesIn(conformance_cases())),
                         name_of);

class NcclConformance : public testing::TestWithParam<std::tuple<int, ConformanceCase>> {};
TEST_P(NcclConformance, Conforms) { run_nccl_ranks(std::get<0>(GetParam()), std::get<1>(GetParam()).body); }
INSTANTIATE_TEST_SUITE_P(All, NcclConformance,
                         testing::Combine(testing::Values(1, 2, 3, 4),
                                          testing::ValuesIn(conformance_cases(false))),
                         name_of);

TEST(NcclCommunicator, CarriesTensorsOfTheHostToo) {
  run_nccl_ranks(3, [](Communicator& comm) {
    Context ctx(test_device());
    EXPECT_EQ(comm.backend(), "nccl");
    std::vector<double> numbers(3, comm.rank());
    comm.all_reduce(ctx.host_stream(), Tensor::borrow(numbers.data(), {3}, DType::f64));
    EXPECT_EQ(numbers, std::vector<double>(3, 3.0));
    std::vector<double> all(3);
    const auto work =
        comm.all_gather_async(ctx.host_stream(), Tensor::borrow(numbers.data(), {1}, DType::f64),
                              Tensor::borrow(all.data(), {3}, DType::f64));
    work->wait();
    EXPECT_EQ(all, std::vector<double>(3, 3.0));
  });
}

/// ZeRO drops what it has gathered in advance and does not need: the memory is then used for something else.
TEST(NcclCommunicator, MemoryOfAWorkThatNobodyWaitedForIsNotUsedTooEarly) {
  run_nccl_ranks(2, [](Communicator& comm) {
    ConformanceRank me(comm);
    for (int round = 0; round < 20; ++round) {
      const Tensor in = me.make(DType::f32, 5000, [&](int64_t i) { return sample(me.rank, i); });
      {
        const Tensor out = Tensor::empty(me.ctx, {10000}, DType::f32);
        (void)comm.all_gather_async(me.stream, in, out);
      }
      const Tensor next = me.make(DType::f32, 10000, [&](int64_t i) { return sample(7, i); });
      EXPECT_EQ(values_of(next), list(10000, [&](int64_t i) { return sample(7, i); }));
    }
  });
}

/// Registrations end with their handles or with the communicator, whichever goes first, and hold their
/// memory.
TEST(NcclCommunicator, BuffersAreRegisteredAsLongAsSomebodyWants) {
  const auto before = nccl_on_host::registrations();
  run_nccl_ranks(2, [](Communicator& world) {
    Context ctx(test_device());
    std::shared_ptr<void> outlives;
    {
      const auto group = world.split(0, world.rank(), "group");
      Tensor t = make_tensor(ctx, {3}, DType::f32, {1, 2, 3}), other = make_tensor(ctx, {1}, DType::f32, {1});
      auto first = group->register_buffer(t);
      outlives = group->register_buffer(other);
      group->all_reduce(ctx.stream(), t);
      EXPECT_THAT(to_vector(t), testing::ElementsAre(2, 4, 6));
      EXPECT_THROW((void)group->register_buffer(t), EnvironmentError) << "twice";
      t = other = Tensor();
      first.reset();
    }
    outlives.reset();
  });
  const auto after = nccl_on_host::registrations();
  EXPECT_EQ(after.made - before.made, 4);
  EXPECT_EQ(after.left - before.left, 0);
}

TEST(NcclCommunicator, ErrorsOfNcclNameTheGroup) {
  expect_error(ExitCode::resources, {"communicator 'world'", "ranks call different operations"}, [] {
    run_nccl_ranks(2, [](Communicator& comm) {
      ConformanceRank me(comm);
      const auto work = comm.all_reduce_async(me.stream, me.zeros(DType::f32, 100 + me.rank));
      while (!work->is_done()) {
      }
      work->wait();
    });
  });
}

/// The others wait for their device, not for the host: the thread that looks after them ends the job.
TEST(NcclCommunicator, ARankThatGivesUpEndsTheJob) {
  expect_error(ExitCode::resources, {"enough of it"}, [] {
    run_nccl_ranks(3, [](Communicator& comm) {
      ConformanceRank me(comm);
      comm.all_reduce(me.stream, me.zeros(DType::f32, 10));
      me.stream.synchronize();
      if (me.rank == 1) {
        comm.abort("enough of it");
        throw_environment("enough of it");
      }
      comm.all_reduce(me.stream, me.zeros(DType::f32, 10));
      me.stream.synchronize();
      comm.barrier(me.stream);
    });
  });
}

TEST(NcclGroup, AGroupThatIsNotCompleteInTimeIsGivenUp) {
  NcclGroup group("data", test_device(), 2, 0, {.init_seconds = 0.05});
  (void)group.make_id();
  expect_error(ExitCode::resources,
               {"ncclCommInitRankConfig", "'data', rank 0 of 2", "some rank did not come"},
               [&] { group.make(); });
  group.abort();
}

}  // namespace
}  // namespace trireme::test
