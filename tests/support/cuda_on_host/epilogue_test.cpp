// Products with and without GELU and bias gradients in their epilogues.
#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/support/cuda_on_host/cublasLt.h"

namespace trireme::test {
namespace {

/// For its lifetime the stand-in for cuBLASLt has no algorithm with them.
class NoEpilogues {
 public:
  NoEpilogues() { cuda_on_host::has_epilogues() = false; }
  ~NoEpilogues() { cuda_on_host::has_epilogues() = true; }
};

struct Results {
  Tensor h, y, dh, dw, dbias;
};

// Runs in a context of its own, which makes its own plans; the results belong to `ctx`.
Results run(Context& ctx, DType dtype, int64_t width) {
  Context own(test_device());
  const Tensor x = random_tensor(own, {33, 40}, dtype, 1),
               w = random_tensor(own, {width, 40}, dtype, 2, 0.3f),
               bias = random_tensor(own, {width}, DType::f32, 3), dx = random_tensor(own, {33, 40}, dtype, 4),
               down = random_tensor(own, {40, width}, dtype, 5, 0.3f);
  const Tensor h = Tensor::empty(ctx, {33, width}, dtype), y = Tensor::empty(ctx, h.shape(), dtype),
               dh = Tensor::empty(ctx, h.shape(), dtype), dw = full(ctx, {width, 40}, DType::f32, 1),
               dbias = full(ctx, {width}, DType::f32, 1);
  ops::linear_gelu(own, x, w, bias, h, y);
  ops::linear_backward_input_gelu(own, dx, down, h, dh);
  ops::linear_backward_weight(own, dh, x, dw, dbias);
  return {h, y, dh, dw, dbias};
}

bool is_activation_of_h(Context& ctx, const Results& r) {
  const Tensor y = Tensor::empty(ctx, r.h.shape(), r.h.dtype());
  ops::gelu(ctx, r.h, y);
  return same_bits(y, r.y);
}

class Epilogues : public OpTest {};

TEST_P(Epilogues, ActivateSumsThatAreNotRoundedYet) {
  const Results fused = run(ctx_, dtype(), 64);
  EXPECT_FALSE(is_activation_of_h(ctx_, fused));
  const NoEpilogues none;
  const Results plain = run(ctx_, dtype(), 64);
  EXPECT_TRUE(is_activation_of_h(ctx_, plain));
  EXPECT_TRUE(same_bits(fused.h, plain.h));
  EXPECT_FALSE(same_bits(fused.dh, plain.dh));
  const auto close = [&](const Tensor& a, const Tensor& b, double bound) {
    const auto values = to_vector(b);
    expect_close(to_vector(a), {values.begin(), values.end()}, bound);
  };
  close(fused.y, plain.y, 2 * tolerance());
  close(fused.dh, plain.dh, 3 * tolerance());
  close(fused.dw, plain.dw, 40 * tolerance());
  close(fused.dbias, plain.dbias, 40 * tolerance());
}

// The stand-in for cuBLASLt sums in double, our kernel in fp32, where 1e8 swallows 1.
TEST(Epilogue, BiasGradientsComeFromTheProduct) {
  const auto sum = [] {
    Context ctx(test_device());
    const Tensor dy = make_tensor(ctx, {3, 2}, DType::f32, {1e8f, 1e8f, 1, 1, -1e8f, -1e8f}),
                 x = full(ctx, {3, 4}, DType::f32, 0), dw = full(ctx, {2, 4}, DType::f32, 0),
                 dbias = full(ctx, {2}, DType::f32, 5);
    ops::linear_backward_weight(ctx, dy, x, dw, dbias);
    return to_vector(dbias)[1];
  };
  EXPECT_EQ(sum(), 6);
  const NoEpilogues none;
  EXPECT_EQ(sum(), 5);
}

// The manual wants rows of the kept matrix to be multiples of eight elements long.
TEST_P(Epilogues, OddWidthsDoWithoutThem) { EXPECT_TRUE(is_activation_of_h(ctx_, run(ctx_, dtype(), 63))); }

INSTANTIATE_TEST_SUITE_P(Types, Epilogues, testing::Values(DType::bf16, DType::f16), dtype_name);

// No manual says how accurate the library's tanh is.
TEST(Epilogue, GeluInFp32IsOurs) {
  Context ctx(test_device());
  const Results results = run(ctx, DType::f32, 64);
  EXPECT_TRUE(is_activation_of_h(ctx, results));
  const NoEpilogues none;
  EXPECT_TRUE(same_bits(results.dh, run(ctx, DType::f32, 64).dh));
}

TEST(Epilogue, RowsOfTheKeptMatrixThatBeginAtOddAddressesDoWithout) {
  Context ctx(test_device());
  const Tensor all = Tensor::empty(ctx, {33 * 64 + 1}, DType::bf16);
  const Tensor x = random_tensor(ctx, {33, 40}, DType::bf16, 1),
               w = random_tensor(ctx, {64, 40}, DType::bf16, 2);
  const Tensor h = all.flat_slice(1, {33, 64}), y = Tensor::empty(ctx, {33, 64}, DType::bf16),
               expected = Tensor::empty(ctx, {33, 64}, DType::bf16);
  ops::linear_gelu(ctx, x, w, {}, h, y);
  ops::gelu(ctx, h, expected);
  EXPECT_TRUE(same_bits(y, expected));
}

}  // namespace
}  // namespace trireme::test
