// The conformance suite under mpirun.
#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "runtime/comm/mpi/mpi_environment.h"
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
