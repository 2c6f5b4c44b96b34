#include "launch/bench/collectives_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/test_device.h"

namespace trireme::launch {
namespace {

std::vector<CollectiveTime> measure(int num_ranks, const CollectivesBenchOptions& options) {
  std::vector<CollectiveTime> times;
  run_thread_ranks(num_ranks, [&](Communicator& comm) {
    Context ctx(test::test_device());
    const auto mine = run_collectives_bench(ctx, comm, options);
    if (comm.rank() == 0) times = mine;
  });
  return times;
}

TEST(CollectivesBench, EveryOperationTypeAndReductionIsRight) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64}) {
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min}) {
      SCOPED_TRACE(fmt::format("{} {}", to_string(dtype), to_string(op)));
      const auto times = measure(3, {.min_bytes = 8,
                                     .max_bytes = 5000,
                                     .factor = 9,
                                     .dtype = dtype,
                                     .op = op,
                                     .warmup = 0,
                                     .iterations = 1});
      EXPECT_EQ(times.size(), 3 * collective_names().size());
      for (const CollectiveTime& t : times) EXPECT_EQ(t.num_wrong, 0) << t.operation << " of " << t.bytes;
    }
  }
}

TEST(CollectivesBench, BandwidthsAreThoseOfNcclTests) {
  for (const CollectiveTime& t : measure(4, {.min_bytes = 4096, .max_bytes = 4096, .iterations = 2})) {
    SCOPED_TRACE(t.operation);
    EXPECT_EQ(t.bytes, 4096);
    const bool is_part = t.operation == "all_gather" || t.operation == "reduce_scatter";
    EXPECT_EQ(t.count, is_part ? 256 : 1024);
    EXPECT_DOUBLE_EQ(t.algorithm_bandwidth, 4096 / t.seconds);
    const double factor = t.operation == "all_reduce"                                   ? 1.5
                          : t.operation == "broadcast" || t.operation == "send_receive" ? 1
                                                                                        : 0.75;
    EXPECT_DOUBLE_EQ(t.bus_bandwidth, factor * t.algorithm_bandwidth);
  }
}

TEST(CollectivesBench, OneRankHasNobodyToSendTo) {
  const auto times = measure(1, {.operation = "send_receive", .iterations = 1});
  EXPECT_TRUE(times.empty());
  EXPECT_EQ(measure(1, {.operation = "all_reduce", .min_bytes = 8, .max_bytes = 8}).size(), 1);
}

}  // namespace
}  // namespace trireme::launch
