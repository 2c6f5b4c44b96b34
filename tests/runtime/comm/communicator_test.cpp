// The backends that need no launcher.
#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/record/call_site.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/runtime/comm/communicator_conformance.h"

namespace trireme {
namespace {

using test::ConformanceCase;
using testing::HasSubstr;

class SelfConformance : public testing::TestWithParam<ConformanceCase> {};
TEST_P(SelfConformance, Conforms) {
  const auto comm = make_self_communicator();
  GetParam().body(*comm);
}
INSTANTIATE_TEST_SUITE_P(All, SelfConformance, testing::ValuesIn(test::conformance_cases()),
                         [](const auto& test_info) { return test_info.param.name; });

class ThreadsConformance : public testing::TestWithParam<std::tuple<int, ConformanceCase>> {};
TEST_P(ThreadsConformance, Conforms) {
  const auto& [num_ranks, conformance_case] = GetParam();
  run_thread_ranks(num_ranks, conformance_case.body);
}
INSTANTIATE_TEST_SUITE_P(All, ThreadsConformance,
                         testing::Combine(testing::Values(1, 2, 3, 4, 8),
                                          testing::ValuesIn(test::conformance_cases())),
                         [](const auto& test_info) {
                           return fmt::format("{}_{}_ranks", std::get<1>(test_info.param).name,
                                              std::get<0>(test_info.param));
                         });

/// Runs the ranks, expecting `body` to throw E out of them; returns the message.
template <class E>
std::string message_of_failure(int num_ranks, const std::function<void(Communicator&)>& body) {
  try {
    run_thread_ranks(num_ranks, body);
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(ThreadRanks, AMessageOfAnotherLabelIsRefused) {
  const std::string said = message_of_failure<InternalError>(2, [](Communicator& comm) {
    Context ctx;
    const Tensor t = Tensor::empty(ctx, {3}, DType::f32);
    if (comm.rank() == 0) {
      comm.send(ctx.stream(), t, 1, "activation 2.0");
    } else {
      comm.receive(ctx.stream(), t, 0, "activation 3.0");
    }
  });
  EXPECT_THAT(
      said, HasSubstr("rank 1 receives 12 bytes of activation 3.0, rank 0 sent 12 bytes of activation 2.0"));
}

TEST(ThreadRanks, ABarrierHoldsEverybodyBack) {
  std::atomic<int> arrived = 0;
  run_thread_ranks(5, [&](Communicator& comm) {
    Context ctx;
    for (int round = 1; round <= 20; ++round) {
      ++arrived;
      comm.barrier(ctx.stream());
      EXPECT_GE(arrived, 5 * round);
      comm.barrier(ctx.stream());
    }
  });
}

TEST(ThreadRanks, TimeIsCountedWhereARankWaitsAndOnlyThere) {
  run_thread_ranks(2, [&](Communicator& comm) {
    Context ctx;
    EXPECT_EQ(comm.seconds_waited(), 0);
    comm.barrier(ctx.stream());
    const double after_barrier = comm.seconds_waited();
    EXPECT_GT(after_barrier, 0);
    const Tensor t = Tensor::empty(ctx, {1000}, DType::f32);
    t.data<float>()[0] = 1;
    const WorkPtr work = comm.all_reduce_async(ctx.stream(), t.slice(0, 1));
    EXPECT_EQ(comm.seconds_waited(), after_barrier);
    work->wait();
    EXPECT_GT(comm.seconds_waited(), after_barrier);
  });
}

struct WaitLog final : WaitObserver {
  std::vector<std::string> calls;
  void post(Stream&, const WaitedCall& call) override { say("post", call); }
  void begin_wait(Stream&, const WaitedCall& call) override { say("begin", call); }
  void end_wait(Stream&, const WaitedCall& call) override { say("end", call); }
  void say(const char* what, const WaitedCall& c) {
    calls.push_back(fmt::format("{} {} {} {}{}", what, c.group, to_string(c.kind), c.number,
                                c.peer < 0 ? "" : fmt::format(" with {}", c.peer)));
  }
};

TEST(ThreadRanks, AnObserverHearsOfEveryWaitOfAGroupAndItsParts) {
  run_thread_ranks(2, [&](Communicator& comm) {
    Context ctx;
    const Tensor t = Tensor::empty(ctx, {4}, DType::f32);
    std::fill_n(t.data<float>(), 4, 1.0f);
    const auto part = comm.split(0, comm.rank(), "part");
    WaitLog log;
    comm.barrier(ctx.stream());
    comm.observe_waits(log);
    const WorkPtr work = comm.all_reduce_async(ctx.stream(), t);
    EXPECT_THAT(log.calls, testing::ElementsAre("post world all_reduce 1")) << "nothing waits yet";
    part->barrier(ctx.stream());
    work->wait();
    EXPECT_THAT(log.calls, testing::ElementsAre("post world all_reduce 1", "post part barrier 0",
                                                "begin part barrier 0", "end part barrier 0",
                                                "begin world all_reduce 1", "end world all_reduce 1"));
    log.calls.clear();
    comm.rank() == 0 ? comm.send(ctx.stream(), t, 1) : comm.receive(ctx.stream(), t, 0);
    EXPECT_EQ(log.calls.at(0), comm.rank() == 0 ? "post world send 0 with 1" : "post world receive 0 with 0");
    comm.ignore_waits(log);
    comm.barrier(ctx.stream());
    EXPECT_EQ(log.calls.size(), 3);
  });
}

TEST(ThreadRanks, PartsAreNumberedAlikeOnAllRanksAndGoWithTheirCommunicators) {
  run_thread_ranks(4, [&](Communicator& comm) {
    const auto names = [&] {
      std::string all;
      for (const auto& [number, part] : comm.parts()) all += fmt::format("{} {},", number, part->name());
      return all;
    };
    const auto pair = comm.split(comm.rank() / 2, comm.rank(), "pair");
    const auto alone = comm.split(comm.rank(), 0, "alone");
    auto last = pair->split(0, pair->rank(), "last");
    EXPECT_EQ(names(), "0 world,1 pair,3 last,");
    last->record_as(trireme::Phase::save);
    EXPECT_EQ(names(), "0 world,1 pair,") << "of another thread";
    EXPECT_EQ(last->parts().size(), 1);
    last.reset();
    EXPECT_EQ(names(), "0 world,1 pair,");
  });
}

TEST(ThreadRanks, TheCulpritsExceptionComesOutAndTheOthersNameItsRank) {
  std::atomic<int> others = 0;
  const std::string message = message_of_failure<UserError>(4, [&](Communicator& comm) {
    Context ctx;
    const Tensor t = Tensor::empty(ctx, {100}, DType::f32);
    if (comm.rank() == 2) throw_usage("--model.heads 7 does not divide 128");
    try {
      comm.all_reduce(ctx.stream(), t);
    } catch (const EnvironmentError& e) {
      EXPECT_THAT(e.what(), HasSubstr("rank 2 failed: --model.heads 7 does not divide 128"));
      ++others;
      throw;
    }
  });
  EXPECT_EQ(message, "--model.heads 7 does not divide 128");
  EXPECT_EQ(others, 3);
}

/// Whatever the others wait in when one rank fails, they come out of it.
class FailureBeside : public testing::TestWithParam<int> {};
TEST_P(FailureBeside, WakesEverybody) {
  std::atomic<int> woken = 0;
  const std::string message = message_of_failure<UserError>(3, [&](Communicator& comm) {
    Context ctx;
    const Tensor t = Tensor::empty(ctx, {1000}, DType::f32), u = Tensor::empty(ctx, {1000}, DType::f32);
    const auto part = comm.split(0, comm.rank(), "part");
    const WorkPtr done = part->all_reduce_async(ctx.stream(), u);
    if (comm.rank() == 1) {
      done->wait();
      WorkPtr left_behind;  // not where the others are in `part`: a call that fits none of theirs is a
                            // failure of its own
      if (GetParam() != 0) left_behind = part->broadcast_async(ctx.stream(), u, 0);
      throw_usage("rank 1 gives up");
    }
    try {
      done->wait();
      switch (GetParam()) {
        case 0:
          part->all_reduce(ctx.stream(), t);
          part->all_reduce(ctx.stream(), t);
          break;
        case 1:
          comm.receive(ctx.stream(), t, 1);
          break;
        case 2:
          comm.send(ctx.stream(), t, 1);
          break;
        case 3:
          (void)comm.split(0, 0, "never");
          break;
        case 4: {
          const WorkPtr first = comm.all_reduce_async(ctx.stream(), t),
                        second = comm.all_reduce_async(ctx.stream(), t);
          second->wait();
          break;
        }
        case 5: {
          const WorkPtr w = comm.receive_async(ctx.stream(), t, 1);
          comm.barrier(ctx.stream());
          break;
        }
      }
      ADD_FAILURE() << "rank " << comm.rank() << " went on";
    } catch (const EnvironmentError& e) {
      EXPECT_THAT(e.what(), HasSubstr("rank 1"));
      ++woken;
      throw;
    }
  });
  EXPECT_EQ(message, "rank 1 gives up");
  EXPECT_EQ(woken, 2);
}
INSTANTIATE_TEST_SUITE_P(All, FailureBeside, testing::Range(0, 6));

TEST(ThreadRanks, AbortFromOutsideEndsAWait) {
  const std::string message = message_of_failure<EnvironmentError>(2, [](Communicator& comm) {
    Context ctx;
    if (comm.rank() == 0) {
      std::thread watchdog([&] { comm.abort("no step for 60 s", ExitCode::hang); });
      watchdog.join();
    }
    comm.barrier(ctx.stream());
    comm.barrier(ctx.stream());
  });
  EXPECT_THAT(message, HasSubstr("rank 0 failed: no step for 60 s"));
}

TEST(ThreadRanks, CallsThatDifferAreNamed) {
  const auto all_throw = [](int num_ranks,
                            const std::function<void(Communicator&, Context&, const Tensor&)>& call) {
    std::string message;
    run_thread_ranks(num_ranks, [&](Communicator& comm) {
      Context ctx;
      const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
      try {
        call(comm, ctx, t);
        ADD_FAILURE() << "rank " << comm.rank() << " noticed nothing";
      } catch (const InternalError& e) {
        if (comm.rank() == 0) message = e.what();
      }
    });
    return message;
  };
  EXPECT_THAT(all_throw(3,
                        [](Communicator& comm, Context& ctx, const Tensor& t) {
                          comm.all_reduce(ctx.stream(), comm.rank() == 1 ? t.slice(0, 11) : t);
                        }),
              HasSubstr("'world': ranks 0, 2: all_reduce(sum, f32, 12 elements); rank 1: all_reduce(sum, "
                        "f32, 11 elements)"));
  EXPECT_THAT(all_throw(2,
                        [](Communicator& comm, Context& ctx, const Tensor& t) {
                          comm.all_reduce(ctx.stream(), t, comm.rank() == 1 ? ReduceOp::max : ReduceOp::sum);
                        }),
              HasSubstr("rank 1: all_reduce(max, f32"));
  EXPECT_THAT(all_throw(2,
                        [](Communicator& comm, Context& ctx, const Tensor& t) {
                          comm.all_reduce(ctx.stream(),
                                          comm.rank() == 1 ? Tensor::empty(ctx, {12}, DType::i32) : t);
                        }),
              HasSubstr("rank 1: all_reduce(sum, i32"));
  EXPECT_THAT(all_throw(2, [](Communicator& comm, Context& ctx,
                              const Tensor& t) { comm.broadcast(ctx.stream(), t, comm.rank()); }),
              HasSubstr("rank 0: broadcast(root 0, f32, 12 elements); rank 1: broadcast(root 1"));
  EXPECT_THAT(all_throw(2,
                        [](Communicator& comm, Context& ctx, const Tensor& t) {
                          if (comm.rank() == 0) (void)comm.split(0, 0, "x");
                          comm.all_reduce(ctx.stream(), t);
                        }),
              HasSubstr("rank 0: split(); rank 1: all_reduce"));
  EXPECT_THAT(all_throw(2,
                        [](Communicator& comm, Context& ctx, const Tensor& t) {
                          const Tensor out = Tensor::empty(ctx, {12}, DType::f32);
                          const std::vector<int64_t> mine = {comm.rank() == 0 ? 4 : 6,
                                                             comm.rank() == 0 ? 8 : 6},
                                                     even = {6, 6};
                          comm.all_to_all_v(ctx.stream(), t, mine, out, even);
                        }),
              HasSubstr("sends 4 elements from rank 0 to rank 0, which expects 6"));
  EXPECT_THAT(all_throw(2,
                        [](Communicator& comm, Context& ctx, const Tensor& t) {
                          if (comm.rank() == 0) comm.send(ctx.stream(), t, 1);
                          comm.receive(ctx.stream(), t.slice(0, 5), 0);
                        }),
              HasSubstr("rank 0 sends 12 elements of f32, rank 1 receives 5 of f32"));
}

TEST(SelfCommunicator, FailsOnceAborted) {
  std::string told;
  const auto comm = make_self_communicator("tensor", [&](std::string_view reason, ExitCode code) {
    told = fmt::format("{} {}", reason, static_cast<int>(code));
  });
  Context ctx;
  const auto part = comm->split(0, 0, "part");
  part->abort("enough", ExitCode::hang);
  EXPECT_EQ(told, "enough 6");
  EXPECT_THROW(part->barrier(ctx.stream()), EnvironmentError);
}

}  // namespace
}  // namespace trireme
