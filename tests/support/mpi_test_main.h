// main() of a test program that runs under mpirun.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::test {

/// Set while run_mpi_tests() runs; gtest's cases take no arguments from main.
inline MpiEnvironment* mpi_environment = nullptr;

/// Prints failures with the rank.
class MpiFailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    fmt::print(stderr, "rank {}: {}:{}: {}\n", mpi_environment->rank(),
               result.file_name() ? result.file_name() : "?", result.line_number(), result.message());
  }
};

/// Rank 0 prints the results, the others only their failures; the exit code is of all ranks together.
inline int run_mpi_tests(int argc, char** argv) {
  MpiEnvironment environment;
  mpi_environment = &environment;
  testing::InitGoogleTest(&argc, argv);
  if (environment.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new MpiFailurePrinter);
  }
  int32_t failed = RUN_ALL_TESTS();
  // gtest itself takes a filter that matches nothing for a success.
  if (!testing::GTEST_FLAG(list_tests) && testing::UnitTest::GetInstance()->test_to_run_count() == 0) {
    if (environment.rank() == 0) fmt::print(stderr, "no test matches {}\n", testing::GTEST_FLAG(filter));
    failed = 1;
  }
  const auto world = environment.make_world();
  Context ctx;
  world->all_reduce(ctx.stream(), Tensor::borrow(&failed, {1}, DType::i32), ReduceOp::max);
  return failed;
}

}  // namespace trireme::test
