// Products with packed floats on the CPU have the bits of ops::linear.
#include <numeric>
#include <stdexcept>

#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/packed/float_products.h"
#include "runtime/ops/cpu/packed/floats.h"
#include "runtime/ops/cpu/packed/pair_dots.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "tests/runtime/ops/thread_cases/thread_cases.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using ops::cpu::FloatLayout;

/// Of weights in this type; the suite's parameter.
using PackedFloatsTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(PackedFloatsTest);

PackedFormat format_of(DType dtype) {
  return dtype == DType::f32    ? PackedFormat::f32
         : dtype == DType::bf16 ? PackedFormat::bf16
                                : PackedFormat::f16;
}

/// Rows of w, whose values need no rounding, as `matrices` packed ones.
ops::PackedWeight packed(Context& ctx, const Tensor& w, int64_t matrices = 1) {
  const PackedFormat format = format_of(w.dtype());
  ops::PackedWeight out{{format}, matrices, w.dim(0) / matrices, w.dim(1), {}};
  out.data =
      Tensor::empty(ctx, {matrices * ops::cpu::floats_bytes(format, out.outputs, out.inputs)}, DType::u8);
  std::fill_n(out.data.data<uint8_t>(), out.data.bytes(), uint8_t{0xff});
  const std::vector<float> values = to_vector(w);
  ops::cpu::pack_floats(ctx, out, [&](int64_t row, std::span<float> to) {
    std::copy_n(values.begin() + row * out.inputs, out.inputs, to.begin());
  });
  return out;
}

Tensor converted(Context& ctx, const Tensor& t, DType dtype) {
  const Tensor to = Tensor::empty(ctx, t.shape(), dtype);
  ops::copy(ctx, t, to);
  return to;
}

/// What packed_linear promises: ops::linear where types are one, else its fp32 products, rounded once.
Tensor expected_product(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, DType out) {
  const Tensor y = Tensor::empty(ctx, {x.dim(0), w.dim(0)}, out);
  if (x.dtype() == w.dtype()) {
    ops::linear(ctx, x, w, bias, y);
    return y;
  }
  const Tensor sums = Tensor::empty(ctx, y.shape(), DType::f32);
  ops::linear(ctx, converted(ctx, x, DType::f32), converted(ctx, w, DType::f32), bias, sums);
  return converted(ctx, sums, out);
}

TEST_P(PackedFloatsTest, ProductsAreThoseOfLinear) {
  std::vector<uint64_t> seeds(300);
  std::iota(seeds.begin(), seeds.end(), test_seed() * 1000);
  for (const uint64_t seed : sample(seeds, 30)) {
    Draw draw(seed);
    const int64_t m = draw.between(1, 8) == 1 ? draw.between(150, 500) : draw.between(1, 20);
    const int64_t n = draw.between(1, 150), k = draw.coin() ? draw.between(385, 2100) : draw.between(1, 400);
    const DType x_type = draw.compute_type(), out = draw.coin() ? DType::f32 : x_type;
    const int64_t before = draw.between(0, 2), behind = draw.between(0, 2), matrices = draw.between(1, 3);
    SCOPED_TRACE(
        fmt::format("case {}: {} x {} x {} of {} to {}", seed, m, n, k, to_string(x_type), to_string(out)));
    const Tensor x = random_tensor(ctx_, {m, k}, x_type, seed, 3.0f),
                 w = random_tensor(ctx_, {matrices * n, k}, dtype(), seed + 1);
    const Tensor bias = draw.coin() ? random_tensor(ctx_, {n}, DType::f32, seed + 2) : Tensor();
    const ops::PackedWeight weight = packed(threads_, w, matrices);
    const int64_t matrix = draw.between(0, matrices - 1);
    const Tensor expected = expected_product(ctx_, x, w.slice(matrix * n, (matrix + 1) * n), bias, out);
    const Tensor framed = full(ctx_, {m, before + n + behind}, out, 5.0f), y = clone(ctx_, framed);
    ops::with_compute_type(out, [&]<class T>(T) {
      for (int64_t r = 0; r < m; ++r) {
        std::copy_n(expected.data<T>() + r * n, n, framed.data<T>() + r * framed.dim(1) + before);
      }
    });
    Context& ctx = context(static_cast<int>(draw.between(1, 3)));
    ops::cpu::floats_linear(ctx, x, weight, matrix, bias, {y, before, n});
    ASSERT_TRUE(same_bits(y, framed));
    const int64_t alone = draw.between(0, m - 1);
    const Tensor row = Tensor::empty(ctx_, {1, n}, out);
    ops::cpu::floats_linear(ctx, x.slice(alone, alone + 1), weight, matrix, bias, row);
    ASSERT_TRUE(same_bits(row, expected.slice(alone, alone + 1))) << "row " << alone << " alone";
  }
}

// Sums below the smallest normal number, and what no number is.
TEST_P(PackedFloatsTest, TinyAndInfiniteSumsToo) {
  const int64_t n = 5, k = 3;
  const Tensor x = make_tensor(ctx_, {2, k}, dtype(), {1e-25f, 0, -1e-20f, 1, INFINITY, 0});
  const Tensor w =
      make_tensor(ctx_, {n, k}, dtype(), {1e-15f, 0, 0, 3e-14f, 1, 1e-20f, -1, 1, 1, 0, -1, 0, 1, 0, 1});
  for (const DType out : {dtype(), DType::f32}) {
    const Tensor y = Tensor::empty(ctx_, {2, n}, out);
    ops::cpu::floats_linear(ctx_, x, packed(ctx_, w), 0, {}, y);
    const auto expected = to_vector(expected_product(ctx_, x, w, {}, out)), actual = to_vector(y);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(actual[i])) << i;
      } else {
        EXPECT_EQ(actual[i], expected[i]) << i;
      }
    }
  }
}

TEST_P(PackedFloatsTest, RowsComeBack) {
  for (const auto& [rows, inputs] : {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {150, 33}, {96, 48}}) {
    const Tensor w = random_tensor(ctx_, {2 * rows, inputs}, dtype(), 3);
    const ops::PackedWeight weight = packed(threads_, w, 2);
    // Stored bytes may lie anywhere.
    const std::vector<std::byte> bytes = read_bytes(w);
    std::vector<std::byte> moved(bytes.size() + 1);
    std::copy(bytes.begin(), bytes.end(), moved.begin() + 1);
    const ops::PackedWeight again = {weight.spec, 2, rows, inputs,
                                     Tensor::empty(ctx_, weight.data.shape(), DType::u8)};
    const int64_t row_bytes = inputs * static_cast<int64_t>(size_of(dtype()));
    ops::cpu::pack_stored_floats(threads_, again,
                                 [&](int64_t row) { return moved.data() + 1 + row * row_bytes; });
    const auto expected = to_vector(w);
    std::vector<float> values(static_cast<size_t>(inputs));
    for (int64_t r = 0; r < 2 * rows; ++r) {
      const auto begin = expected.begin() + r * inputs;
      ops::cpu::floats_unpack_row(weight, r, values);
      ASSERT_TRUE(std::equal(values.begin(), values.end(), begin)) << r;
      ops::cpu::floats_unpack_row(again, r, values);
      ASSERT_TRUE(std::equal(values.begin(), values.end(), begin)) << r;
    }
  }
}

TEST_P(PackedFloatsTest, AnErrorOfReadingComesOut) {
  ops::PackedWeight weight = packed(ctx_, random_tensor(ctx_, {200, 20}, dtype(), 1));
  EXPECT_THROW(ops::cpu::pack_floats(threads_, weight,
                                     [](int64_t row, std::span<float>) {
                                       if (row == 150) throw std::runtime_error("unreadable");
                                     }),
               std::runtime_error);
}

// The layouts that the machine does not choose.
TEST_P(PackedFloatsTest, EveryLayoutGivesTheSameProducts) {
  if (dtype() == DType::f32) GTEST_SKIP() << "there is but one";
  const int64_t n = 70, k = 801;
  const Tensor w = random_tensor(ctx_, {n, k}, dtype(), 1), bias = random_tensor(ctx_, {n}, DType::f32, 2);
  std::vector<FloatLayout> layouts = {FloatLayout::rows};
  layouts.push_back(dtype() == DType::bf16 ? FloatLayout::pair_panels : FloatLayout::panels);
  for (const FloatLayout layout : layouts) {
    ops::cpu::PackedFloats weight = {format_of(dtype()), layout, n, k, nullptr};
    std::vector<std::byte> memory(static_cast<size_t>(weight.bytes()));
    weight.data = memory.data();
    ops::with_compute_type(dtype(), [&]<class T>(T) {
      for (int64_t p = 0; p < weight.num_panels(); ++p) {
        ops::cpu::pack_panel(weight, w.data<T>() + p * ops::cpu::PackedFloats::panel_columns() * k, p);
      }
    });
    for (const int64_t m : {1, 7, 9, 30}) {
      const Tensor x = random_tensor(ctx_, {m, k}, DType::f32, 3),
                   y = Tensor::empty(ctx_, {m, n}, DType::f32);
      ops::cpu::multiply_widened(threads_, x, weight, bias, y);
      EXPECT_TRUE(same_bits(y, expected_product(ctx_, x, w, bias, DType::f32))) << m;
    }
    std::vector<float> values(static_cast<size_t>(k));
    ops::cpu::widen_row(weight, 60, values.data());
    EXPECT_EQ(values, to_vector(w.slice(60, 61)));
  }
}

TEST(PairDots, AreOneDnnsWhereTheMachineHasThem) {
  if (ops::cpu::pair_dots() == nullptr || !ops::cpu::onednn::has_matmul(DType::bf16)) {
    GTEST_SKIP() << "no dot products of pairs";
  }
  EXPECT_TRUE(ops::cpu::pair_dots_are_onednns());
}

}  // namespace
}  // namespace trireme::test
