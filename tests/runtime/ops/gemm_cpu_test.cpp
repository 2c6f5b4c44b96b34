#include "runtime/ops/cpu/onednn.h"
#include "runtime/ops/gemm.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

TEST(GemmOnCpu, ScratchMemoryIsAccountedForAndGivenBack) {
  Context ctx;
  const Tensor a = random_tensor(ctx, {64, 64}, DType::f16, 1),
               c = random_tensor(ctx, {64, 64}, DType::f16, 2);
  const auto before = ctx.allocator().stats().total.current;
  ops::gemm(ctx, {}, a, a, {}, c);
  EXPECT_EQ(ctx.allocator().stats().total.current, before);
  EXPECT_GE(ctx.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::buffers)].peak,
            2 * 64 * 64 * 4);
}

TEST(GemmOnCpu, LeavesTheThreadCountOfTheCallerAlone) {
  const ops::cpu::onednn::ThreadCount one(1);
  Context two({}, 2);
  const Tensor a = random_tensor(two, {33, 17}, DType::f32, 1),
               b = random_tensor(two, {17, 65}, DType::f32, 2);
  ops::gemm(two, {}, a, b, {}, Tensor::empty(two, {33, 65}, DType::f32));
  EXPECT_EQ(ops::cpu::onednn::ThreadCount::current(), 1);
}

}  // namespace
}  // namespace trireme::test
