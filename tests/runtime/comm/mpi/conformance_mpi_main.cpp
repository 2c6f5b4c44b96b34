// The conformance suite under mpirun.
#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/comm/record/recorder.h"
#include "tests/runtime/comm/communicator_conformance.h"
#include "tests/support/mpi_test_main.h"

namespace trireme {
namespace {

using test::ConformanceCase;

/// "whole": as in use. "pieces": every message cut into odd pieces, with calls compared.
struct Variant {
  std::string name;
  MpiOptions options;
};
void PrintTo(const Variant& v, std::ostream* out) { *out << v.name; }

class MpiConformance : public testing::TestWithParam<std::tuple<Variant, ConformanceCase>> {
 protected:
  /// A rank that throws would leave the others waiting: it ends the job.
  void together(const std::function<void(Communicator&)>& body) {
    try {
      const auto world = test::mpi_environment->make_world(std::get<0>(GetParam()).options);
      body(*world);
    } catch (const std::exception& e) {
      fmt::print(stderr, "rank {}: {}\n", test::mpi_environment->rank(), e.what());
      MpiEnvironment::abort(ExitCode::internal);
    }
  }
};
TEST_P(MpiConformance, Conforms) { together(std::get<1>(GetParam()).body); }

INSTANTIATE_TEST_SUITE_P(
    All, MpiConformance,
    testing::Combine(testing::Values(Variant{"whole", {}},
                                     Variant{"pieces", {.check_calls = true, .max_message_bytes = 1003}}),
                     testing::ValuesIn(test::conformance_cases())),
    [](const auto& test_info) {
      return std::get<1>(test_info.param).name + "_" + std::get<0>(test_info.param).name;
    });

TEST(MpiEnvironment, HostsHoldAllRanks) {
  int total = 0;
  for (const MpiHost& host : test::mpi_environment->hosts()) {
    EXPECT_FALSE(host.name.empty());
    total += host.num_ranks;
  }
  EXPECT_EQ(total, test::mpi_environment->size());
  EXPECT_LT(test::mpi_environment->local_rank(), test::mpi_environment->local_size());
  EXPECT_THAT(test::mpi_environment->version(), testing::HasSubstr("MPI"));
}

TEST(MpiCommunicator, CheckedCallsThatDifferAreNamed) {
  const auto world = test::mpi_environment->make_world({.check_calls = true});
  if (world->size() == 1) return;
  Context ctx;
  const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
  const bool odd = world->rank() == 1;
  const auto expect_named = [&](const std::string& expected, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << "nothing was noticed";
    } catch (const InternalError& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr(expected));
    }
  };
  expect_named("rank 1: all_reduce(sum, f32, 11 elements)",
               [&] { world->all_reduce(ctx.stream(), odd ? t.slice(0, 11) : t); });
  expect_named("rank 1: barrier()", [&] {
    if (odd) {
      world->barrier(ctx.stream());
    } else {
      world->all_reduce_async(ctx.stream(), t)->wait();
    }
  });
  expect_named("rank 1: split()", [&] {
    if (odd) (void)world->split(0, 0, "x");
    world->broadcast(ctx.stream(), t, 0);
  });
}

TEST(MpiCommunicator, CallsAreRecordedWithTheirGroup) {
  Recorder recorder;
  const auto world = test::mpi_environment->make_world({});
  world->set_recorder(&recorder);
  Context ctx;
  recorder.enter(Phase::forward);
  const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
  world->barrier(ctx.stream());
  // The even ranks and the odd ones, the last first.
  const auto half = world->split(world->rank() % 2, -world->rank(), "half");
  recorder.enter({Phase::backward, 4, 1, 2});
  const WorkPtr work = half->all_reduce_async(ctx.stream(), t);
  recorder.set_layer(1);
  work->wait();
  const int next = (half->rank() + 1) % half->size(), last = (half->rank() + half->size() - 1) % half->size();
  if (half->size() > 1) {
    const WorkPtr sending = half->send_async(ctx.stream(), t.slice(0, 3), next, "activation 0.1");
    half->receive(ctx.stream(), t.slice(4, 7), last, "activation 0.1");
    sending->wait();
  }

  const auto all = recorder.history();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].num_collectives, 2);
  const CommHistory& history = all[1];
  EXPECT_EQ(history.name, "half");
  EXPECT_EQ(history.backend, "mpi");
  std::vector<int> members;
  for (int r = world->size() - 1; r >= 0; --r) {
    if (r % 2 == world->rank() % 2) members.push_back(r);
  }
  EXPECT_EQ(history.members, members);
  EXPECT_EQ(history.members[static_cast<size_t>(history.rank)], world->rank());
  ASSERT_EQ(history.calls.size(), half->size() > 1 ? 3u : 1u);
  for (const CallRecord& call : history.calls) {
    EXPECT_EQ(call.sequence, 0);
    EXPECT_LE(call.enqueued_ns, call.started_ns);
    EXPECT_LE(call.started_ns, call.ended_ns);
  }
  EXPECT_EQ(history.calls[0].site, (CallSite{Phase::backward, 4, 1, 2}));
  if (half->size() > 1) {
    EXPECT_EQ(history.calls[1].site.layer, 1);
    EXPECT_EQ(history.calls[1].peer, next);
    EXPECT_EQ(history.calls[2].kind, CommKind::receive);
    EXPECT_EQ(history.calls[2].peer, last);
  }
  // One id of both of its ranks, and another one of the other half.
  int64_t id = static_cast<int64_t>(history.id);
  std::vector<int64_t> ids(static_cast<size_t>(world->size()));
  world->all_gather(ctx.stream(), Tensor::borrow(&id, {1}, DType::i64),
                    Tensor::borrow(ids.data(), {world->size()}, DType::i64));
  for (int r = 0; r < world->size(); ++r)
    EXPECT_EQ(ids[static_cast<size_t>(r)] == id, r % 2 == world->rank() % 2);
}

TEST(MpiCommunicator, ASkippedCollectiveIsNamedByWhereTheNextOneIs) {
  Recorder recorder;
  const auto world = test::mpi_environment->make_world({});
  if (world->size() == 1) return;
  world->set_recorder(&recorder);
  world->set_call_check(CallCheck::site);
  Context ctx;
  const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
  world->all_reduce(ctx.stream(), t);
  // All layers have equal reductions: without their places the sums would be wrong, and the last would hang.
  recorder.enter({Phase::backward, 9, 0, world->rank() == 1 ? 1 : 2});
  try {
    world->all_reduce(ctx.stream(), t);
    ADD_FAILURE() << "nothing was noticed";
  } catch (const InternalError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("'world', collective 1: rank"));
    EXPECT_THAT(e.what(),
                testing::HasSubstr("12 elements) in layer 2, backward of step 9, micro-batch 0; rank 1: "
                                   "all_reduce(sum, f32, 12 elements) in layer 1, backward"));
  }
}

Tensor zeros(Context& ctx, int64_t n) {
  const Tensor t = Tensor::empty(ctx, {n}, DType::f32);
  std::fill_n(t.data<float>(), n, 0.0f);
  return t;
}

/// A message that is longer or shorter than what is awaited is found by the receiver.
TEST(MpiCommunicator, MessagesOfAnotherLengthAreRefused) {
  const auto world = test::mpi_environment->make_world({});
  if (world->size() == 1) return;
  Context ctx;
  const Tensor t = Tensor::empty(ctx, {12}, DType::f32);
  if (world->rank() == 0) {
    world->send(ctx.stream(), t.slice(0, 5), 1);
    world->send(ctx.stream(), t, 1);
  } else if (world->rank() == 1) {
    EXPECT_THROW(world->receive(ctx.stream(), t, 0), InternalError);
    EXPECT_THROW(world->receive(ctx.stream(), t.slice(0, 5), 0), InternalError);
  }
}

/// Long ones go by single copy, which takes the sender's length: nothing may be written behind the
/// receiver's.
TEST(MpiCommunicator, ALongMessageIsNotWrittenBeyondItsReceiver) {
  const auto world = test::mpi_environment->make_world({});
  if (world->size() == 1) return;
  Context ctx;
  constexpr int64_t kLong = 1 << 18, kShort = 100000;
  const Tensor t = zeros(ctx, kLong);
  if (world->rank() == 0) {
    std::fill_n(t.data<float>(), kLong, 1.0f);
    new WorkPtr(world->send_async(ctx.stream(), t, 1, "gradient 1.0"));  // nobody takes it: left behind
    world->receive(ctx.stream(), zeros(ctx, 1), 1);
  } else if (world->rank() == 1) {
    try {
      world->receive(ctx.stream(), t.slice(0, kShort), 0, "gradient 1.0");
      ADD_FAILURE() << "nothing was noticed";
    } catch (const InternalError& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr("rank 1 receives 400000 bytes of gradient 1.0, rank 0 sent "
                                               "1048576 bytes of gradient 1.0"));
    }
    for (int64_t i = 0; i < kLong; ++i) ASSERT_EQ(t.data<float>()[i], 0) << i;
    world->send(ctx.stream(), zeros(ctx, 1), 0);
  }
}

TEST(MpiCommunicator, AMessageOfAnotherLabelIsRefused) {
  const auto world = test::mpi_environment->make_world({});
  if (world->size() == 1) return;
  Context ctx;
  const Tensor t = zeros(ctx, 12);
  if (world->rank() == 0) {
    world->send(ctx.stream(), t, 1, "activation 0.0");
    world->send(ctx.stream(), t, 1, "activation 1.0");
  } else if (world->rank() == 1) {
    world->receive(ctx.stream(), t, 0, "activation 0.0");
    EXPECT_THROW(world->receive(ctx.stream(), t, 0, "activation 2.0"), InternalError);
  }
}

/// Compared without being asked for: none of these may hang or write where it should not.
TEST(MpiCommunicator, CollectivesOfAnotherLengthAreRefused) {
  const auto world = test::mpi_environment->make_world({});
  if (world->size() == 1) return;
  Context ctx;
  constexpr int64_t kLong = 1 << 18;
  const bool odd = world->rank() == 1;
  const int64_t n = odd ? 1000 : kLong, ranks = world->size();
  const Tensor t = zeros(ctx, n), all = zeros(ctx, n * ranks);
  EXPECT_THROW(world->broadcast(ctx.stream(), t, 0), InternalError);
  EXPECT_THROW(world->all_gather(ctx.stream(), t, all), InternalError);
  EXPECT_THROW(world->reduce_scatter(ctx.stream(), all, t), InternalError);
  EXPECT_THROW(world->all_to_all(ctx.stream(), all, zeros(ctx, n * ranks)), InternalError);
  EXPECT_THROW(world->all_reduce(ctx.stream(), t, odd ? ReduceOp::max : ReduceOp::sum), InternalError);
  std::vector<int64_t> send(static_cast<size_t>(ranks), 10), receive = send;
  if (odd) ++receive[0], --receive[1];
  EXPECT_THROW(
      world->all_to_all_v(ctx.stream(), t.slice(0, 10 * ranks), send, zeros(ctx, 10 * ranks), receive),
      InternalError);
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::test::run_mpi_tests(argc, argv); }
