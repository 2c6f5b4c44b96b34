#include "runtime/ops/device_rates.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(DeviceRates, LieBetweenWhatAnyProcessorAndNoProcessorReaches) {
  Context ctx;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const double rate = ops::measure_gemm_rate(ctx, dtype);
    EXPECT_GT(rate, 1e8) << to_string(dtype);
    EXPECT_LT(rate, 1e15) << to_string(dtype);
  }
  const double memory = ops::measure_memory_rate(ctx);
  EXPECT_GT(memory, 1e8);
  EXPECT_LT(memory, 1e14);
  EXPECT_EQ(ctx.allocator().stats().total.current, 0);
}

}  // namespace
}  // namespace trireme
