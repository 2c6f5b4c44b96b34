// Operations of a communicator in a CUDA graph, over NCCL or the host's stand-in for it.
#pragma once

#include <gtest/gtest.h>

#include "tests/runtime/comm/communicator_conformance.h"

namespace trireme::test {

/// Each launch of a graph does what the calls in it did, with what its tensors hold by then. All ranks of a
/// group call it.
inline void expect_captured_operations(Communicator& comm) {
  constexpr int64_t kNum = 1000;
  ConformanceRank r(comm);
  const Tensor input = r.zeros(DType::f32, kNum), sums = r.zeros(DType::f32, kNum),
               all = r.zeros(DType::f32, kNum * r.size);
  const auto operations = [&] {
    const WorkPtr gathered = comm.all_gather_async(r.stream, input, all);
    gathered->wait();
    comm.reduce_scatter(r.stream, all, sums.slice(0, kNum));
    comm.all_reduce(r.stream, input, ReduceOp::max);
  };
  const auto fill = [&](int round) {
    std::vector<float> values;
    for (int64_t i = 0; i < kNum; ++i) values.push_back(static_cast<float>(sample(r.rank + round, i)));
    write(input, values);
  };
  const auto expect = [&](int round) {
    const auto of_rank = [&](int rank, int64_t i) { return sample(rank + round, i); };
    EXPECT_EQ(values_of(all),
              list(kNum * r.size, [&](int64_t i) { return of_rank(static_cast<int>(i / kNum), i % kNum); }))
        << "gathered in round " << round;
    EXPECT_EQ(values_of(sums), list(kNum, [&](int64_t i) { return r.size * of_rank(r.rank, i); }))
        << "scattered in round " << round;
    EXPECT_EQ(values_of(input), list(kNum,
                                     [&](int64_t i) {
                                       double largest = 0;
                                       for (int rank = 0; rank < r.size; ++rank)
                                         largest = std::max(largest, of_rank(rank, i));
                                       return largest;
                                     }))
        << "reduced in round " << round;
  };
  fill(0);
  operations();  // groups meet, memory is found
  expect(0);
  const auto graph = r.ctx.capture(operations);
  for (int round = 1; round < 4; ++round) {
    fill(round);
    graph->launch(r.stream);
    expect(round);
  }
}

}  // namespace trireme::test
