#include "parallel/tensor_parallel/gather_parameter.h"

#include <gtest/gtest.h>

#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

// Element i of the whole tensor is i, so that a block knows its values.
Tensor block_of(Context& ctx, const Parameter& p) {
  std::vector<float> values;
  const bool matrix = p.shape.rank() == 2;
  for (int64_t r = 0; r < p.shape[0]; ++r) {
    for (int64_t c = 0; c < (matrix ? p.shape[1] : 1); ++c) {
      const int64_t row = p.offset[0] + r, column = matrix ? p.offset[1] + c : 0;
      values.push_back(static_cast<float>(row * (matrix ? p.global_shape[1] : 1) + column));
    }
  }
  return make_tensor(ctx, p.shape, DType::f32, values);
}

void expect_whole(int size, const std::function<Parameter(const TensorParallel&)>& make) {
  run_thread_ranks(size, [&](Communicator& group) {
    Context ctx;
    const Parameter p = make(TensorParallel(group));
    const Tensor whole = gather_parameter(ctx, group, p, block_of(ctx, p));
    EXPECT_EQ(static_cast<bool>(whole), group.rank() == 0);
    if (!whole) return;
    EXPECT_EQ(whole.shape(), p.global_shape);
    const auto values = to_vector(whole);
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], static_cast<float>(i)) << p.name;
  });
}

std::function<Parameter(const TensorParallel&)> sharded(const Shape& shape, int dim) {
  return
      [=](const TensorParallel& t) { return Parameter::part_of("w", shape, dim, t.part(shape[dim]), 0, 1); };
}

TEST(GatherParameter, PutsEveryKindTogether) {
  for (const int size : {1, 2, 3, 4}) {
    expect_whole(size, sharded({7, 5}, 0));
    expect_whole(size, sharded({5, 7}, 1));
    expect_whole(size, sharded({11}, 0));
    expect_whole(size, [](const TensorParallel& t) {
      Parameter p = Parameter::whole("gain", {6}, 0, 1);
      p.num_copies = t.size();
      return p;
    });
  }
}

TEST(GatherParameter, CopiesOnSomeRanks) {
  expect_whole(4, [](const TensorParallel& t) {
    const int64_t half = t.rank() / 2;
    Parameter p = Parameter::part_of("key", {6, 3}, 0, {3 * half, 3 * half + 3}, 0, 1);
    p.num_copies = 2;
    return p;
  });
}

}  // namespace
}  // namespace trireme::test
