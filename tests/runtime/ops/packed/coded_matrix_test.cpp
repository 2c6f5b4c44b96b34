// Codes and scales in kernels' layouts, without a change.
#include "runtime/ops/packed/coded_matrix.h"

#include <algorithm>
#include <limits>

#include <gmock/gmock.h>

#include "runtime/ops/embedding.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/runtime/ops/packed/packed_cases.h"

namespace trireme::test {
namespace {

using ops::CodedMatrix;
using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

std::vector<float> decoded(std::span<const CodedMatrix> matrices) {
  std::vector<float> values;
  for (const CodedMatrix& m : matrices) {
    std::vector<float> row(static_cast<size_t>(m.inputs));
    for (int64_t r = 0; r < m.outputs; ++r) {
      decode_row(m, r, row);
      values.insert(values.end(), row.begin(), row.end());
    }
  }
  return values;
}

bool have_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

class CodedMatrixTest : public SharedContexts {
 protected:
  Context& ctx_ = context();
  Context& threads_ = context(3);

  /// Of products: on the host in place of a GPU a few, which differ in their kernels.
  std::vector<PackedSpec> product_specs() const {
    if (ctx_.device().type == DeviceType::cpu) return coded_specs();
    return {{PackedFormat::int4, 64, false}, {PackedFormat::int8, 0}, {PackedFormat::fp8}};
  }
};

TEST_F(CodedMatrixTest, PackedKeepsEveryBit) {
  Draws draws(1);
  for (const PackedSpec& spec : coded_specs()) {
    for (const ScaleBits bits : {ScaleBits::bf16, ScaleBits::fp16, ScaleBits::f32}) {
      for (const int64_t inputs : {33, 160, 300}) {
        const bool ordered = draws.number(0, 1) == 1;
        const CodedMatrix m = drawn_codes(spec, 17, inputs, bits, ordered, draws);
        const PackedWeight w = ops::pack_coded(inputs == 33 && ordered ? threads_ : ctx_, {&m, 1});
        ASSERT_TRUE(have_same_bits(unpacked(ctx_, w), decoded({&m, 1})))
            << to_string(spec) << ", " << inputs << " inputs, scales " << static_cast<int>(bits) << ordered;
      }
    }
  }
}

TEST_F(CodedMatrixTest, MatricesLieOneBelowTheOther) {
  Draws draws(2);
  for (const PackedSpec& spec : coded_specs()) {
    std::vector<CodedMatrix> parts;
    for (const int64_t outputs : {5, 17, 17, 5}) {
      parts.push_back(drawn_codes(spec, outputs, 70, ScaleBits::bf16, false, draws));
    }
    const std::vector<float> expected = decoded(parts);
    for (const int64_t matrices : {1, 2}) {
      const PackedWeight w = ops::pack_coded(threads_, parts, matrices);
      EXPECT_EQ(w.matrices, matrices);
      ASSERT_TRUE(have_same_bits(unpacked(ctx_, w), expected)) << to_string(spec);
    }
    // Orders may differ from matrix to matrix, not within one.
    for (CodedMatrix& m : parts) m = drawn_codes(spec, m.outputs, 70, ScaleBits::f32, true, draws);
    parts[1].order = parts[0].order;
    parts[3].order = parts[2].order;
    ASSERT_TRUE(have_same_bits(unpacked(ctx_, ops::pack_coded(ctx_, parts, 2)), decoded(parts)));
    EXPECT_THROW(ops::pack_coded(ctx_, parts, 1), InternalError);
  }
}

TEST_F(CodedMatrixTest, PartsAreOfTheirOwn) {
  Draws draws(3);
  for (const PackedSpec& spec : coded_specs()) {
    const CodedMatrix m = drawn_codes(spec, 9, 200, ScaleBits::bf16, false, draws);
    const std::vector<float> all = decoded({&m, 1});
    for (const auto& [column, columns] : {std::pair<int64_t, int64_t>{0, 128}, {128, 72}, {0, 200}}) {
      ASSERT_TRUE(is_whole_groups(m, column, columns));
      const CodedMatrix part = part_of(m, 2, 5, column, columns);
      const std::vector<float> values = decoded({&part, 1});
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          ASSERT_EQ(values[static_cast<size_t>(r * columns + c)],
                    all[static_cast<size_t>((r + 2) * 200 + column + c)])
              << to_string(spec);
        }
      }
    }
    EXPECT_EQ(is_whole_groups(m, 16, 64), spec.group == 0);
    EXPECT_EQ(is_whole_groups(m, 0, 72), spec.group == 0);
    if (spec.group == 0) continue;
    EXPECT_THROW(part_of(m, 0, 9, 16, 64), InternalError);
  }
}

TEST_F(CodedMatrixTest, GroupsFollowTheOrder) {
  CodedMatrix m{{PackedFormat::int4, 32}, 1, 40, std::vector<uint8_t>(40, 9), {1.0f, 2.0f}, {}, {}};
  for (int32_t i = 39; i >= 0; --i) m.order.push_back(i);
  const auto groups = m.group_of_inputs();
  std::vector<float> values(40);
  decode_row(m, 0, values);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(groups[i], i < 8 ? 1 : 0);
    EXPECT_EQ(values[i], i < 8 ? 2.0f : 1.0f);
  }
  EXPECT_TRUE(is_whole_groups(m, 0, 40));
  EXPECT_FALSE(is_whole_groups(m, 0, 32));
  m.order[0] = 38;
  EXPECT_THROW(ops::pack_coded(ctx_, {&m, 1}), InternalError);
}

// The same matrix with its columns laid out by places, by x laid out so.
TEST_F(CodedMatrixTest, ProductsFollowTheOrder) {
  Draws draws(6);
  constexpr int64_t kRows = 5, kInputs = 160, kOutputs = 17;
  for (const PackedSpec& spec : product_specs()) {
    std::vector<CodedMatrix> ordered, plain;
    const Tensor x = random_tensor(ctx_, {kRows, kInputs}, DType::bf16, draws.bits());
    std::vector<float> of_places, values = to_vector(x);
    for (int m = 0; m < 2; ++m) {
      ordered.push_back(drawn_codes(spec, kOutputs, kInputs, ScaleBits::fp16, true, draws));
      plain.push_back(ordered.back());
      const std::vector<int32_t> order = std::move(plain.back().order);
      plain.back().order.clear();
      for (int64_t i = 0; i < kOutputs * kInputs; ++i) {
        plain.back().codes[static_cast<size_t>(i)] =
            ordered.back()
                .codes[static_cast<size_t>(i / kInputs * kInputs + order[static_cast<size_t>(i % kInputs)])];
      }
      const int64_t first = m == 0 ? 0 : 2, end = m == 0 ? 2 : kRows;
      for (int64_t i = first * kInputs; i < end * kInputs; ++i) {
        of_places.push_back(
            values[static_cast<size_t>(i / kInputs * kInputs + order[static_cast<size_t>(i % kInputs)])]);
      }
    }
    const Tensor placed = make_tensor(ctx_, {kRows, kInputs}, DType::bf16, of_places);
    const PackedWeight w = ops::pack_coded(ctx_, ordered, 2), same = ops::pack_coded(ctx_, plain, 2);
    const std::vector<int64_t> counts = {2, 3};
    for (const auto activations : {ops::Activations::exact, ops::Activations::int8_rows}) {
      const Tensor y = Tensor::empty(ctx_, {kRows, kOutputs}, DType::bf16), expected = clone(ctx_, y);
      Context& some = activations == ops::Activations::exact ? ctx_ : threads_;
      ops::packed_grouped_linear(some, x, counts, w, activations, y);
      ops::packed_grouped_linear(ctx_, placed, counts, same, activations, expected);
      ASSERT_TRUE(same_bits(y, expected)) << to_string(spec);
      const PackedWeight one = ops::pack_coded(ctx_, std::span(ordered).first(1)),
                         plain_one = ops::pack_coded(ctx_, std::span(plain).first(1));
      ops::packed_linear(some, x.slice(0, 2), one, activations, {}, y.slice(0, 2));
      ops::packed_linear(ctx_, placed.slice(0, 2), plain_one, activations, {}, expected.slice(0, 2));
      ASSERT_TRUE(same_bits(y, expected)) << to_string(spec);
    }
  }
}

TEST_F(CodedMatrixTest, EmbeddingsAreInTheOrderOfInputs) {
  Draws draws(7);
  for (const PackedSpec& spec : product_specs()) {
    const CodedMatrix m = drawn_codes(spec, 9, 70, ScaleBits::f32, true, draws);
    const PackedWeight table = ops::pack_coded(ctx_, {&m, 1});
    const Tensor ids = make_indices(ctx_, {3, 11, 0, 8}), places = make_indices(ctx_, {1, 0, 1, 0});
    const Tensor positions = random_tensor(ctx_, {2, 70}, DType::f32, draws.bits());
    const Tensor words = make_tensor(ctx_, {9, 70}, DType::f32, decoded({&m, 1}));
    const Tensor out = Tensor::empty(ctx_, {4, 70}, DType::f32), expected = clone(ctx_, out);
    ops::packed_embedding(threads_, ids, table, {0, 12}, places, positions, out);
    ops::embedding(ctx_, ids, words, {0, 12}, places, positions, expected);
    ASSERT_TRUE(same_bits(out, expected)) << to_string(spec);
  }
}

// The bounds that packed_linear.h states for every device.
TEST_F(CodedMatrixTest, ProductsKeepTheirBound) {
  Draws draws(8);
  const double unit = ctx_.device().type == DeviceType::cpu ? 0x1p-24 : 0x1p-22;
  const int64_t more = ctx_.device().type == DeviceType::cpu ? 2 : 16;
  for (const PackedSpec& spec : product_specs()) {
    for (const int64_t inputs : {33, 160, 700}) {
      const CodedMatrix m = drawn_codes(spec, 17, inputs, ScaleBits::f32, inputs == 160, draws);
      const PackedWeight w = ops::pack_coded(ctx_, {&m, 1});
      const Tensor x = random_tensor(ctx_, {3, inputs}, DType::f32, draws.bits());
      const Tensor y = Tensor::empty(ctx_, {3, 17}, DType::f32);
      ops::packed_linear(ctx_, x, w, ops::Activations::exact, {}, y);
      const std::vector<float> values = decoded({&m, 1}), numbers = to_vector(x), results = to_vector(y);
      for (size_t i = 0; i < results.size(); ++i) {
        double sum = 0, magnitude = 0;
        for (size_t j = 0; j < static_cast<size_t>(inputs); ++j) {
          const double product = static_cast<double>(numbers[i / 17 * static_cast<size_t>(inputs) + j]) *
                                 values[i % 17 * static_cast<size_t>(inputs) + j];
          sum += product;
          magnitude += std::abs(product);
        }
        ASSERT_LE(std::abs(results[i] - sum), unit * static_cast<double>(inputs + more) * magnitude)
            << to_string(spec) << ", " << inputs << " inputs";
      }
    }
  }
}

TEST_F(CodedMatrixTest, RoundingIsThatOfPackedRows) {
  Draws draws(4);
  std::vector<float> values(23 * 130);
  for (float& value : values) value = draws.normal();
  std::fill_n(values.begin() + 130, 130, 0.0f);
  for (const PackedSpec& spec : coded_specs()) {
    const CodedMatrix m = ops::round_to_nearest(threads_, spec, 23, 130, values);
    EXPECT_EQ(m.zeros.empty(), spec.symmetric);
    EXPECT_EQ(m.codes, ops::round_to_nearest(ctx_, spec, 23, 130, values).codes);
    const PackedWeight w = ops::pack_rows(ctx_, spec, 1, 23, 130, [&](int64_t row, std::span<float> to) {
      std::copy_n(values.begin() + row * 130, 130, to.begin());
    });
    ASSERT_TRUE(have_same_bits(unpacked(ctx_, w), decoded({&m, 1}))) << to_string(spec);
  }
  values[5 * 130 + 77] = std::numeric_limits<float>::infinity();
  try {
    ops::round_to_nearest(threads_, {PackedFormat::int4, 64}, 23, 130, values);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("row 5"), testing::HasSubstr("input 77")));
  }
}

TEST_F(CodedMatrixTest, RefusesWhatNoKernelTakes) {
  Draws draws(5);
  CodedMatrix m = drawn_codes({PackedFormat::int8, 32}, 3, 64, ScaleBits::f32, false, draws);
  m.scales[3] = std::nanf("");
  EXPECT_THROW(ops::pack_coded(ctx_, {&m, 1}), UserError);
  CodedMatrix floats = drawn_codes({PackedFormat::fp8}, 3, 64, ScaleBits::f32, false, draws);
  floats.codes[64 + 5] = 0xff;
  try {
    ops::pack_coded(ctx_, {&floats, 1});
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("output 1"), testing::HasSubstr("input 5")));
  }
  m.scales.pop_back();
  EXPECT_THROW(ops::pack_coded(ctx_, {&m, 1}), InternalError);
}

}  // namespace
}  // namespace trireme::test
