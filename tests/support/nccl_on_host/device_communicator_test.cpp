// Communicators on tensors of a device: NCCL's, and the others through memory of the host. Ranks are threads.
#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/nccl/nccl_launcher.h"
#include "runtime/comm/record/recorder.h"
#include "tests/runtime/comm/communicator_conformance.h"
#include "tests/support/expect_error.h"
#include "tests/support/nccl_on_host/nccl.h"
#include "tests/support/nccl_on_host/nccl_ranks.h"

namespace trireme::test {
namespace {

// Tensors may lie on the first device: all have one memory.
void run_nccl_ranks(int num_ranks, const std::function<void(Communicator&)>& body) {
  test::run_nccl_ranks(num_ranks, [&](Communicator& world, Device) { body(world); });
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

/// Every call is recorded, and every collective compared before it is launched.
void run_checked_ranks(int num_ranks, const std::function<void(Communicator&, Recorder&)>& body) {
  run_nccl_ranks(num_ranks, [&](Communicator& world) {
    Recorder recorder;
    world.set_recorder(&recorder);
    world.set_call_check(CallCheck::step);
    body(world, recorder);
    world.set_recorder(nullptr);
  });
}

class CheckedNcclConformance : public testing::TestWithParam<ConformanceCase> {};
TEST_P(CheckedNcclConformance, Conforms) {
  run_checked_ranks(3, [](Communicator& world, Recorder&) { GetParam().body(world); });
}
INSTANTIATE_TEST_SUITE_P(All, CheckedNcclConformance, testing::ValuesIn(conformance_cases(false)),
                         [](const auto& test_info) { return test_info.param.name; });

TEST(NcclCommunicator, CheckedCallsThatDifferAreNamedBeforeTheyAreLaunched) {
  run_checked_ranks(3, [](Communicator& world, Recorder& recorder) {
    Context ctx(test_device());
    const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
    recorder.enter({Phase::backward, 7, 0, 3});
    const bool odd = world.rank() == 1;
    const WorkPtr work = world.all_reduce_async(ctx.stream(), odd ? t.slice(0, 11) : t);
    try {
      work->wait();
      ADD_FAILURE() << "nothing was noticed";
    } catch (const InternalError& e) {
      EXPECT_STREQ(
          e.what(),
          "calls do not match on communicator 'world', collective 0: ranks 0, 2: all_reduce(sum, f32, "
          "12 elements) in layer 3, backward of step 7, micro-batch 0; rank 1: all_reduce(sum, f32, "
          "11 elements) in layer 3, backward of step 7, micro-batch 0");
    }
    // A rank that has left out a collective, and is a step ahead.
    if (odd) recorder.set_step(8);
    EXPECT_THROW(world.all_reduce(ctx.stream(), t), InternalError);
    std::vector<int64_t> send(3, 2), receive = send;
    recorder.set_step(8);
    if (odd) ++receive[0], --receive[1];
    const Tensor six = t.slice(0, 6), other = Tensor::empty(ctx, {6}, DType::f32);
    EXPECT_THROW(world.all_to_all_v(ctx.stream(), six, send, other, receive), InternalError);
  });
}

/// What the device has done is seen without waiting for it.
TEST(NcclCommunicator, CallsAreRecordedUntilTheDeviceHasDoneThem) {
  run_checked_ranks(2, [](Communicator& world, Recorder& recorder) {
    Context ctx(test_device());
    const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
    world.all_reduce(ctx.stream(), t);
    if (world.rank() == 0) {
      world.send(ctx.stream(), t, 1);
    } else {
      world.receive(ctx.stream(), t, 0);
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    CommHistory history;
    do {
      history = recorder.history().at(0);
    } while (std::ranges::any_of(history.calls, [](const CallRecord& c) { return c.ended_ns == 0; }) &&
             std::chrono::steady_clock::now() < deadline);
    EXPECT_EQ(history.backend, "nccl");
    ASSERT_EQ(history.calls.size(), 2u);
    for (const CallRecord& call : history.calls) {
      EXPECT_GT(call.started_ns, 0);
      EXPECT_GE(call.ended_ns, call.started_ns);
    }
    EXPECT_EQ(history.num_collectives, 1);
  });
}

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
      work->wait();
      comm.barrier(me.stream);  // waits for the device, which knows
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

class HasCome final : public Work {
 public:
  void wait() override {}
  bool is_done() override { return true; }
};

TEST(NcclLauncher, AGroupThatIsNotCompleteInTimeIsGivenUp) {
  run_thread_ranks(1, [](Communicator& world) {
    NcclLauncher launcher(test_device(), {.init_seconds = 0.05}, world);
    const auto group = launcher.make_group(NcclGroup::Kind::collectives, "data", 2, 0);
    (void)group->make_id();
    launcher.connect(group, std::make_shared<HasCome>());
    expect_error(ExitCode::resources, {"ncclCommInitRankConfig", "'data', rank 0 of 2", "a rank is missing"},
                 [&] { launcher.run(group, [] { FAIL() << "there is no group"; }); });
  });
}

/// Rank 1 comes to the second group only when it has a message that rank 0 sends after its first collective
/// there; both directions begin with a receive.
TEST(NcclCommunicator, MessagesPassAGroupThatIsStillBeingMade) {
  run_nccl_ranks(2, [](Communicator& world) {
    ConformanceRank me(world);
    const auto group = world.split(0, world.rank(), "group");
    const int other = 1 - world.rank();
    const Tensor in = me.zeros(DType::f32, 5),
                 out = me.make(DType::f32, 5, [&](int64_t) { return me.rank + 1; });
    const Tensor sum = me.make(DType::f32, 1, [](int64_t) { return 1; });
    const auto arrives = world.receive_async(me.stream, in, other);
    if (me.rank == 0) {
      const auto summed = group->all_reduce_async(me.stream, sum);
      const auto sent = world.send_async(me.stream, out, other);
      arrives->wait();
      summed->wait();
      sent->wait();
    } else {
      const auto sent = world.send_async(me.stream, out, other);
      arrives->wait();
      me.stream.synchronize();
      group->all_reduce(me.stream, sum);
      sent->wait();
    }
    EXPECT_EQ(values_of(in), list(5, [&](int64_t) { return other + 1; }));
    EXPECT_EQ(values_of(sum), list(1, [](int64_t) { return 2; }));
  });
}

/// Rank 1 comes late to the first group: rank 0, which has begun operations of both, may not launch that of
/// the second before that of the first, as rank 1 does not.
TEST(NcclCommunicator, CollectivesStayBehindAGroupThatIsStillBeingMade) {
  run_nccl_ranks(2, [](Communicator& world) {
    ConformanceRank me(world);
    const auto late = world.split(0, world.rank(), "late"), made = world.split(0, world.rank(), "made");
    const Tensor x = me.make(DType::f32, 5, [](int64_t i) { return i; });
    const Tensor y = me.make(DType::f32, 5, [](int64_t i) { return i + 1; });
    made->all_reduce(me.stream, me.zeros(DType::f32, 1));
    if (me.rank == 0) {
      const auto first = late->all_reduce_async(me.stream, x), second = made->all_reduce_async(me.stream, y);
      second->wait();
      first->wait();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      late->all_reduce(me.stream, x);
      made->all_reduce(me.stream, y);
    }
    me.stream.synchronize();
    world.barrier(me.stream);
    EXPECT_EQ(values_of(x), list(5, [](int64_t i) { return 2 * i; }));
    EXPECT_EQ(values_of(y), list(5, [](int64_t i) { return 2 * (i + 1); }));
  });
}

/// What NCCL forbids, and the stand-in therefore refuses.
class NcclRules : public testing::Test {
 protected:
  NcclRules() {
    nccl_on_host::begin_job();
    cuda_on_host::num_devices = 2;
    for (auto& id : ids_) ncclGetUniqueId(&id);
  }
  ~NcclRules() override { cuda_on_host::num_devices = 1; }

  // Two ranks as threads, in two communicators each.
  void run(const std::function<void(int, std::array<ncclComm_t, 2>, float*)>& body) {
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < 2; ++rank) {
      ranks.emplace_back([&, rank] {
        cudaSetDevice(rank);
        std::array<ncclComm_t, 2> comms{};
        for (size_t i = 0; i < 2; ++i) {
          ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
          EXPECT_EQ(ncclCommInitRankConfig(&comms[i], 2, ids_[i], rank, &config), ncclSuccess);
        }
        meet_.arrive_and_wait();  // what one breaks would fail the other's call that still makes it
        void* memory = nullptr;
        cudaMalloc(&memory, 1024);
        body(rank, comms, static_cast<float*>(memory));
        for (const ncclComm_t comm : comms) {
          ncclResult_t state = ncclSuccess;
          ncclCommGetAsyncError(comm, &state);
          const std::lock_guard lock(mutex_);
          if (state != ncclSuccess) failures_ += ncclGetLastError(comm);
        }
        meet_.arrive_and_wait();
        for (const ncclComm_t comm : comms) ncclCommDestroy(comm);
        cudaFree(memory);
      });
    }
    for (auto& rank : ranks) rank.join();
  }

  static ncclResult_t reduce(ncclComm_t comm, float* memory, cudaStream_t stream) {
    return ncclAllReduce(memory, memory, 8, ncclFloat32, ncclSum, comm, stream);
  }

  std::array<ncclUniqueId, 2> ids_;
  std::barrier<> meet_{2};
  std::mutex mutex_;
  std::string failures_;
};

TEST_F(NcclRules, CollectivesOfTwoGroupsInOneOrder) {
  run([&](int rank, auto comms, float* memory) {
    cudaStream_t streams[2];
    for (auto& stream : streams) cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
    const bool swaps = rank == 1;
    for (const size_t i : {size_t{swaps}, size_t{!swaps}}) (void)reduce(comms[i], memory + 8 * i, streams[i]);
    for (auto& stream : streams) cudaStreamSynchronize(stream);
    meet_.arrive_and_wait();
    for (auto& stream : streams) cudaStreamDestroy(stream);
  });
  EXPECT_THAT(failures_, testing::HasSubstr("in different orders"));
}

TEST_F(NcclRules, OneThreadLaunchesForADevice) {
  run([&](int, auto comms, float* memory) {
    cudaStream_t stream;
    cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
    (void)reduce(comms[0], memory, stream);
    (void)reduce(comms[0], memory, stream);
    std::thread([&] { (void)reduce(comms[1], memory, stream); }).join();
    cudaStreamSynchronize(stream);
    meet_.arrive_and_wait();
    cudaStreamDestroy(stream);
  });
  EXPECT_THAT(failures_, testing::HasSubstr("two threads launch for one device"));
}

TEST_F(NcclRules, OneThreadAtATimeInACommunicator) {
  run([&](int, auto comms, float*) {
    std::atomic<bool> refused = false;
    const auto ask = [&] {
      ncclResult_t state;
      for (int i = 0; i < 100'000 && !refused; ++i) {
        if (ncclCommGetAsyncError(comms[0], &state) != ncclSuccess) refused = true;
      }
    };
    std::thread other(ask);
    ask();
    other.join();
    EXPECT_TRUE(refused);
    meet_.arrive_and_wait();
  });
  EXPECT_THAT(failures_, testing::HasSubstr("two threads inside one communicator"));
}

}  // namespace
}  // namespace trireme::test
