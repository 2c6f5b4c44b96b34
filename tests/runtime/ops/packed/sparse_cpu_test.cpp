// Sparse weights on the CPU have the bits of dense ones.
#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/ops/cpu/packed/float_layout.h"
#include "runtime/ops/cpu/packed/floats.h"
#include "runtime/ops/cpu/packed/integers/panels.h"
#include "runtime/ops/cpu/packed/sparse/few_rows.h"
#include "runtime/ops/packed/quantize_row.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/runtime/ops/packed/packed_cases.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

class SparseOnCpu : public SharedContexts {};

const PackedSpec kSpecs[] = {{PackedFormat::f32},
                             {PackedFormat::bf16},
                             {PackedFormat::int8},
                             {PackedFormat::int8, 32},
                             {PackedFormat::int8, 128}};

struct Sizes {
  int64_t matrices, outputs, inputs;
};

/// Rows that are full, empty, of a few or many numbers; zeros of either sign.
std::vector<float> drawn_rows(const Sizes& s, Draws& draws) {
  std::vector<float> values;
  const int64_t all = draws.number(0, 4);
  for (int64_t row = 0; row < s.matrices * s.outputs; ++row) {
    const int64_t kind = all == 4 ? draws.number(0, 3) : all;
    const int64_t percent = kind == 0 ? 0 : kind == 1 ? 100 : kind == 2 ? 50 : draws.number(1, 99);
    for (int64_t i = 0; i < s.inputs; ++i) {
      const float value = 0.05f * draws.normal() + 0.01f;
      values.push_back(draws.number(0, 99) < percent ? value : draws.number(0, 1) == 0 ? 0.0f : -0.0f);
    }
  }
  return values;
}

ops::ReadRow reader_of(const std::vector<float>& values, int64_t inputs) {
  return [&values, inputs](int64_t row, std::span<float> to) {
    std::copy_n(values.begin() + row * inputs, inputs, to.begin());
  };
}

/// However many zeros there are, and whatever processor this is.
PackedWeight sparse_weight(Context& ctx, PackedSpec spec, const Sizes& s, const std::vector<float>& values) {
  spec.sparse = true;
  PackedWeight w{spec, s.matrices, s.outputs, s.inputs, {}};
  const ops::ReadRow row = reader_of(values, s.inputs);
  if (!ops::is_integer(spec.format)) {
    w.data = ops::cpu::pack_sparse_floats(ctx, w, row, 0);
    return w;
  }
  const auto codes = [&](int64_t r, const ops::CodedRow& to) {
    std::vector<float> numbers(static_cast<size_t>(s.inputs));
    row(r, numbers);
    ops::quantize_row(spec, numbers, to);
  };
  w.data = ops::cpu::pack_sparse_integers(ctx, w, codes, 0);
  return w;
}

/// oneDNN's products with dense weights have an order of their own.
bool has_dense_bits(const PackedSpec& spec, DType x) {
  return spec.format != PackedFormat::bf16 || x != DType::bf16 ||
         ops::cpu::packed_floats(spec.format, 1, 1).layout == ops::cpu::FloatLayout::pair_panels;
}

TEST_F(SparseOnCpu, ProductsHaveTheBitsOfDenseOnes) {
  Draws draws(1);
  int64_t compared = 0;
  for (int round = 0; round < 40; ++round) {
    for (const PackedSpec& spec : kSpecs) {
      const bool is_deep = draws.number(0, 9) == 0;
      const Sizes s{1, draws.number(1, is_deep ? 60 : 150), draws.number(1, is_deep ? 1300 : 300)};
      const std::vector<float> values = drawn_rows(s, draws);
      const PackedWeight sparse = sparse_weight(context(3), spec, s, values);
      const PackedWeight dense =
          ops::pack_rows(context(), spec, 1, s.outputs, s.inputs, reader_of(values, s.inputs));
      constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};
      const DType type = kTypes[draws.number(0, 2)], out = draws.number(0, 1) == 0 ? DType::f32 : type;
      const int64_t rows = draws.number(0, 7) == 0 ? draws.number(100, 140) : draws.number(1, 7);
      const auto activations = static_cast<Activations>(draws.number(0, 2));
      SCOPED_TRACE(fmt::format("{} [{}, {}], {} rows of {}, activations {}", to_string(spec), s.outputs,
                               s.inputs, rows, to_string(type), static_cast<int>(activations)));
      const Tensor x = random_tensor(context(), {rows, s.inputs}, type, draws.bits());
      const Tensor bias =
          draws.number(0, 1) == 0 ? Tensor() : random_tensor(context(), {s.outputs}, DType::f32, 5);
      const Tensor y = full(context(), {rows, s.outputs}, out, 7.0f), other = clone(context(), y),
                   expected = clone(context(), y);
      ops::packed_linear(context(3), x, sparse, activations, bias, y);
      ops::packed_linear(context(), x, sparse, activations, bias, other);
      ops::packed_linear(context(), x, dense, activations, bias, expected);
      ASSERT_TRUE(same_bits(y, other));
      if (!has_dense_bits(spec, type)) continue;
      ASSERT_TRUE(same_bits(y, expected));
      ++compared;
    }
  }
  EXPECT_GT(compared, 100);
}

TEST_F(SparseOnCpu, ExpertsAndRowsAreThoseOfDenseWeights) {
  Draws draws(2);
  for (const PackedSpec& spec : kSpecs) {
    const Sizes s{3, draws.number(17, 70), draws.number(33, 200)};
    const std::vector<float> values = drawn_rows(s, draws);
    const PackedWeight sparse = sparse_weight(context(3), spec, s, values);
    const PackedWeight dense =
        ops::pack_rows(context(), spec, 3, s.outputs, s.inputs, reader_of(values, s.inputs));
    ASSERT_EQ(unpacked(context(), sparse), unpacked(context(), dense)) << to_string(spec);
    const auto numbers = unpacked(context(), dense);
    const auto zeros = std::ranges::count(numbers, 0.0f);
    EXPECT_NEAR(ops::zero_share(sparse), static_cast<double>(zeros) / static_cast<double>(numbers.size()),
                1e-9);
    const std::vector<int64_t> counts{2, 0, 9};
    const Tensor x = random_tensor(context(), {11, s.inputs}, DType::f32, 3);
    const Tensor y = full(context(), {11, s.outputs}, DType::f32, 7.0f), expected = clone(context(), y);
    ops::packed_grouped_linear(context(3), x, counts, sparse, Activations::int8, y);
    ops::packed_grouped_linear(context(), x, counts, dense, Activations::int8, expected);
    ASSERT_TRUE(same_bits(y, expected)) << to_string(spec);
  }
}

TEST_F(SparseOnCpu, OnlyWhatIsFasterIsPackedSo) {
  const bool can = ops::cpu::few_rows_kernels() != nullptr;
  for (const auto& [zeros, is_sparse] : {std::pair{2, false}, {4, can}}) {
    const ops::ReadRow row = [zeros = zeros](int64_t, std::span<float> to) {
      for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int>(i % 10) < zeros ? 0.0f : 1.0f;
    };
    const PackedWeight w =
        ops::pack_rows(context(), {.format = PackedFormat::bf16, .sparse = true}, 1, 50, 100, row);
    EXPECT_EQ(w.spec.sparse, is_sparse);
    EXPECT_EQ(to_string(w.spec), is_sparse ? "sparse bf16" : "bf16");
    if (is_sparse) {
      EXPECT_DOUBLE_EQ(ops::zero_share(w), 0.4);
    }
    std::vector<float> got(100), expected(100);
    ops::unpack_row(context(), w, 49, got);
    row(49, expected);
    EXPECT_EQ(got, expected);
  }
  EXPECT_FALSE(ops::can_be_sparse({.format = PackedFormat::f16}));
  EXPECT_FALSE(ops::can_be_sparse({.format = PackedFormat::int8, .symmetric = false}));
  EXPECT_FALSE(ops::can_be_sparse({.format = PackedFormat::int4}));
}

TEST_F(SparseOnCpu, LinesAreExpandedAlikeByAllInstructions) {
  Draws draws(3);
  for (const ops::cpu::LineElements elements : {ops::cpu::LineElements{1, 128}, {2, 0}, {4, 0}}) {
    constexpr int64_t kLines = 40;
    std::vector<std::byte> masks(static_cast<size_t>(kLines * elements.mask_bytes())),
        values(static_cast<size_t>(kLines * ops::cpu::kLineBytes + ops::cpu::kReadBeyond));
    for (std::byte& mask : masks) {
      const int64_t kind = draws.number(0, 5);
      mask = static_cast<std::byte>(kind == 0 ? 0u : kind == 1 ? 255u : draws.bits());
    }
    for (std::byte& value : values) value = static_cast<std::byte>(draws.bits());
    std::vector<std::byte> first;
    for (const ops::cpu::ExpandKernels* kernels : ops::cpu::all_expand_kernels()) {
      std::vector<std::byte> to(static_cast<size_t>(kLines * ops::cpu::kLineBytes));
      const std::byte* end =
          kernels->of(elements)(masks.data(), values.data(), kLines, elements.zero, to.data());
      to.push_back(static_cast<std::byte>((end - values.data()) & 255));
      if (first.empty()) first = to;
      EXPECT_EQ(to, first) << kernels->instructions << ", " << elements.bytes;
    }
  }
}

}  // namespace
}  // namespace trireme::test
