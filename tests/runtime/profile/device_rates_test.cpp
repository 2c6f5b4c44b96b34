#include "runtime/profile/device_rates.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(DeviceRates, LieBetweenWhatAnyProcessorAndNoProcessorReaches) {
  Context ctx;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const ops::GemmRate rate =
        ops::measure_gemm_rate(ctx, dtype, {.least_seconds = 0.05, .most_seconds = 0.1});
    EXPECT_GT(rate.flops, 1e8) << to_string(dtype);
    EXPECT_LT(rate.flops, 1e15) << to_string(dtype);
    EXPECT_GT(rate.share, 0);
    EXPECT_LE(rate.share, 1);
  }
  const double memory = ops::measure_memory_rate(ctx);
  EXPECT_GT(memory, 1e8);
  EXPECT_LT(memory, 1e14);
  EXPECT_EQ(ctx.allocator().stats().total.current, 0);
}

}  // namespace
}  // namespace trireme
