#include <cmath>
#include <vector>

#include "runtime/ops/cpu/gemm/gemm_kernels.h"
#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/gemm/gemm.h"
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

// Every tile and edge of the kernels of each instruction set that this machine has.
TEST(GemmOnCpu, KernelsOfEveryInstructionSetMultiply) {
  Context ctx;
  for (const ops::cpu::GemmKernels* kernels : ops::cpu::all_gemm_kernels()) {
    const int64_t width = kernels->columns, tile = kernels->rows, k = 37;
    for (const int64_t m : {int64_t{1}, tile - 1, 9 * tile + 3}) {
      for (int64_t n = 1; n <= width; ++n) {
        SCOPED_TRACE(fmt::format("{} columns a panel: {}x{}", width, m, n));
        const bool transposed = n % 2 == 1;
        const auto av = to_vector(random_tensor(ctx, {m, k}, DType::f32, 1)),
                   bv = to_vector(random_tensor(ctx, {k, n}, DType::f32, 2)),
                   start = to_vector(random_tensor(ctx, {m, n}, DType::f32, 3));
        std::vector<float> a_turned(av.size()), b_turned(bv.size());
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t x = 0; x < k; ++x) a_turned[x * m + i] = av[i * k + x];
        }
        for (int64_t j = 0; j < n; ++j) {
          for (int64_t x = 0; x < k; ++x) b_turned[j * k + x] = bv[x * n + j];
        }
        std::vector<float> panel(k * width, NAN), panels((m + tile) * k, NAN);
        kernels->pack_b(transposed, {transposed ? b_turned.data() : bv.data(), transposed ? k : n}, k, n,
                        2.0f, panel.data());
        kernels->pack_transposed_a({a_turned.data(), m}, k, m, k * tile, panels.data());
        std::vector<float> c(m * n), from_panels(m * n), bits(m * n);
        kernels->multiply(m, n, k, {av.data(), k}, panel.data(), {start.data(), n}, c.data(), n);
        kernels->multiply_panels(m, n, k, {panels.data(), k * tile}, panel.data(), {start.data(), 0},
                                 from_panels.data(), n);
        kernels->multiply(m, n, k, {av.data(), k}, panel.data(), {start.data(), 0}, bits.data(), n);
        EXPECT_EQ(from_panels, bits);
        for (int64_t i = 0; i < m * n; ++i) {
          double sum = 0;
          for (int64_t x = 0; x < k; ++x) sum += 2.0 * av[i / n * k + x] * bv[x * n + i % n];
          ASSERT_NEAR(c[i], start[i] + sum, 1e-4) << i;
          ASSERT_NEAR(bits[i], start[i % n] + sum, 1e-4) << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test
