#include "tests/runtime/ops/packed/packed_cases.h"

#include <numeric>

#include "runtime/ops/embedding.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::Columns;
using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

using PackedLinearTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(PackedLinearTest);

constexpr Activations kAllActivations[] = {Activations::exact, Activations::int8, Activations::int8_rows};

/// A product in fp64 and how far from it a result may be.
struct Expected {
  double sum = 0, error = 0;
};

// exact: one rounding of fp32 an input. int8: every x is off by at most half a step of its block or row,
// whose largest magnitude is 127 steps; a product with it carries the roundings of its scale, and there are
// fewer of them.
Expected expect_product(Activations activations, std::span<const float> x, std::span<const float> w) {
  Expected out;
  double magnitude = 0, steps = 0;
  float largest_of_row = 0;
  for (const float value : x) largest_of_row = std::max(largest_of_row, std::abs(value));
  for (size_t begin = 0; begin < x.size(); begin += 32) {
    float largest = activations == Activations::int8_rows ? largest_of_row : 0;
    double weights = 0;
    for (size_t i = begin; i < std::min(x.size(), begin + 32); ++i) {
      const double product = static_cast<double>(x[i]) * w[i];
      out.sum += product;
      magnitude += std::abs(product);
      weights += std::abs(w[i]);
      largest = std::max(largest, std::abs(x[i]));
    }
    steps += 0.5 * weights * largest / 127;
    if (activations != Activations::exact) magnitude += 2 * weights * largest;  // minima and codes apart
  }
  out.error = 0x1p-24 * static_cast<double>(x.size() + 8) * magnitude * 1.01;
  if (activations != Activations::exact) out.error += steps * (1 + 1e-5);
  return out;
}

void expect_products(Activations activations, const std::vector<float>& x, const std::vector<float>& w,
                     const std::vector<float>& bias, const std::vector<float>& y, double rounding) {
  const size_t outputs = bias.size(), inputs = w.size() / outputs;
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t row = i / outputs, output = i % outputs;
    Expected e = expect_product(activations, std::span(x).subspan(row * inputs, inputs),
                                std::span(w).subspan(output * inputs, inputs));
    e.sum += bias[output];
    e.error += (rounding + 0x1p-23) * (std::abs(e.sum) + e.error);
    ASSERT_NEAR(y[i], e.sum, e.error) << "row " << row << " of " << y.size() / outputs << ", output "
                                      << output << " of " << outputs << ", " << inputs << " inputs";
  }
}

TEST_P(PackedLinearTest, MultipliesByTheValuesOfEveryFormat) {
  Draws draws(3);
  for (const PackedSpec& spec : integer_specs()) {
    for (const Activations activations : kAllActivations) {
      SCOPED_TRACE(to_string(spec) + fmt::format(", activations {}", static_cast<int>(activations)));
      const int64_t rows = draws.number(0, 9), outputs = draws.number(1, 40);
      const int64_t inputs = drawn_inputs(spec, 300, draws);
      const PackedWeight w = drawn_weight(ctx_, spec, 1, outputs, inputs, draws);
      const Tensor x = random_tensor(ctx_, {rows, inputs}, dtype(), draws.bits());
      const bool wide = draws.number(0, 1) == 1, has_bias = draws.number(0, 1) == 1;
      const Tensor bias = random_tensor(ctx_, {outputs}, DType::f32, draws.bits());
      const DType type = wide ? DType::f32 : dtype();
      const Columns y = widened(ctx_, full(ctx_, {rows, outputs}, type, 7.0f), 3, 5);
      ops::packed_linear(threads_, x, w, activations, has_bias ? bias : Tensor(), y);
      expect_products(activations, to_vector(x), unpacked(ctx_, w),
                      has_bias ? to_vector(bias) : std::vector<float>(static_cast<size_t>(outputs)),
                      to_vector(y), type == DType::f32 ? 0 : tolerance());
    }
  }
}

TEST_P(PackedLinearTest, ARowHasTheSameBitsAloneAndInABatch) {
  Draws draws(4);
  for (const PackedSpec& spec : integer_specs()) {
    for (const Activations activations : kAllActivations) {
      const int64_t rows = draws.number(2, 13), outputs = draws.number(1, 40);
      const int64_t inputs = drawn_inputs(spec, 300, draws);
      const PackedWeight w = drawn_weight(ctx_, spec, 1, outputs, inputs, draws);
      const Tensor x = random_tensor(ctx_, {rows, inputs}, dtype(), draws.bits());
      const Tensor together = Tensor::empty(ctx_, {rows, outputs}, DType::f32),
                   alone = Tensor::empty(ctx_, {rows, outputs}, DType::f32);
      ops::packed_linear(threads_, x, w, activations, {}, together);
      for (int64_t begin = 0; begin < rows;) {
        const int64_t end = std::min(rows, begin + draws.number(1, 3));
        ops::packed_linear(ctx_, x.slice(begin, end), w, activations, {}, alone.slice(begin, end));
        begin = end;
      }
      ASSERT_TRUE(same_bits(together, alone)) << to_string(spec) << ", " << rows << " rows";
    }
  }
}

// What is not finite in x stays in its row.
TEST_P(PackedLinearTest, NaNStaysNaN) {
  Draws draws(5);
  for (const PackedSpec& spec : integer_specs()) {
    for (const Activations activations : kAllActivations) {
      const PackedWeight w = drawn_weight(ctx_, spec, 1, 5, 256, draws);
      std::vector<float> values(3 * 256, 0.25f);
      values[256 + 77] = std::nanf("");
      const Tensor y = Tensor::empty(ctx_, {3, 5}, dtype());
      ops::packed_linear(ctx_, make_tensor(ctx_, {3, 256}, dtype(), values), w, activations, {}, y);
      const auto sums = to_vector(y);
      for (size_t i = 0; i < sums.size(); ++i) {
        ASSERT_EQ(std::isnan(sums[i]), i / 5 == 1) << to_string(spec);
      }
    }
  }
}

TEST_P(PackedLinearTest, NothingComesOfZeros) {
  for (const PackedSpec& spec : group_specs()) {
    const PackedWeight w = ops::pack_rows(ctx_, spec, 1, 19, 45,
                                          [](int64_t, std::span<float> to) { std::ranges::fill(to, 0.0f); });
    for (const Activations activations : kAllActivations) {
      for (const float value : {1e30f, 0.0f}) {
        const Tensor y = full(ctx_, {2, 19}, DType::f32, 3.0f);
        ops::packed_linear(ctx_, full(ctx_, {2, 45}, dtype(), value), w, activations, {}, y);
        // 1e30 is infinite in f16.
        const bool finite = dtype() != DType::f16 || value == 0.0f;
        for (const float sum : to_vector(y)) ASSERT_TRUE(finite ? sum == 0.0f : std::isnan(sum));
      }
    }
  }
}

TEST_P(PackedLinearTest, EveryRowMeetsTheMatrixOfItsExpert) {
  Draws draws(6);
  const std::vector<int64_t> all_counts[] = {{1, 0, 0, 2}, {0, 0, 0, 0}, {0, 11, 3, 0}, {5, 1, 1, 4}};
  auto specs = integer_specs();
  for (const PackedFormat format : {PackedFormat::f32, PackedFormat::bf16}) specs.push_back({format});
  for (const PackedSpec& spec : specs) {
    const auto& counts = all_counts[draws.number(0, 3)];
    const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    const int64_t outputs = draws.number(1, 40), inputs = drawn_inputs(spec, 200, draws);
    const PackedWeight w = drawn_weight(ctx_, spec, 4, outputs, inputs, draws);
    const Tensor x = random_tensor(ctx_, {rows, inputs}, dtype(), draws.bits());
    const Tensor y = full(ctx_, {rows, outputs}, dtype(), 7.0f);
    ops::packed_grouped_linear(threads_, x, counts, w, Activations::exact, y);
    const auto xs = to_vector(x), ws = unpacked(ctx_, w), ys = to_vector(y);
    for (int64_t m = 0, row = 0; m < 4; row += counts[static_cast<size_t>(m++)]) {
      const auto end = row + counts[static_cast<size_t>(m)];
      expect_products(Activations::exact, {xs.begin() + row * inputs, xs.begin() + end * inputs},
                      {ws.begin() + m * outputs * inputs, ws.begin() + (m + 1) * outputs * inputs},
                      std::vector<float>(static_cast<size_t>(outputs)),
                      {ys.begin() + row * outputs, ys.begin() + end * outputs}, tolerance());
    }
  }
}

TEST_P(PackedLinearTest, EmbeddingIsThatOfTheUnpackedTable) {
  Draws draws(7);
  auto specs = integer_specs();
  for (const PackedFormat format : {PackedFormat::f32, PackedFormat::bf16, PackedFormat::f16}) {
    specs.push_back({format});
  }
  for (const PackedSpec& spec : specs) {
    const int64_t here = draws.number(1, 40), width = drawn_inputs(spec, 256, draws);
    const ops::TablePart part{5, here + 9};
    const PackedWeight w = drawn_weight(ctx_, spec, 1, here, width, draws);
    const Tensor table = make_tensor(ctx_, {here, width}, dtype(), unpacked(ctx_, w));
    std::vector<int32_t> ids, places;
    for (int i = 0; i < 23; ++i) {
      ids.push_back(static_cast<int32_t>(draws.number(0, here + 8)));
      places.push_back(static_cast<int32_t>(draws.number(0, 6)));
    }
    const Tensor id = make_indices(ctx_, ids), place = make_indices(ctx_, places);
    const Tensor positions = random_tensor(ctx_, {7, width}, dtype(), draws.bits());
    for (const bool placed : {false, true}) {
      const Tensor out = full(ctx_, {23, width}, dtype(), 7.0f), expected = clone(ctx_, out);
      ops::packed_embedding(threads_, id, w, part, placed ? place : Tensor(), placed ? positions : Tensor(),
                            out);
      ops::embedding(ctx_, id, table, part, placed ? place : Tensor(), placed ? positions : Tensor(),
                     expected);
      ASSERT_TRUE(same_bits(out, expected)) << to_string(spec) << (placed ? ", with positions" : "");
    }
  }
}

TEST_P(PackedLinearTest, RefusesWhatDoesNotFit) {
  Draws draws(8);
  const PackedWeight w = drawn_weight(ctx_, {PackedFormat::int8, 32}, 2, 6, 40, draws);
  const PackedWeight one = drawn_weight(ctx_, {PackedFormat::int8, 32}, 1, 6, 40, draws);
  const Tensor x = random_tensor(ctx_, {3, 40}, dtype(), 1), y = Tensor::empty(ctx_, {3, 6}, dtype());
  EXPECT_THROW(ops::packed_linear(ctx_, x, w, Activations::exact, {}, y), InternalError);
  EXPECT_THROW(
      ops::packed_linear(ctx_, random_tensor(ctx_, {3, 41}, dtype(), 1), one, Activations::exact, {}, y),
      InternalError);
  EXPECT_THROW(ops::packed_grouped_linear(ctx_, x, std::vector<int64_t>{3, 1}, w, Activations::exact, y),
               InternalError);
  const Tensor out = Tensor::empty(ctx_, {1, 40}, dtype());
  EXPECT_THROW(ops::packed_embedding(ctx_, make_indices(ctx_, {6}), one, {0, 6}, {}, {}, out), InternalError);
}

}  // namespace
}  // namespace trireme::test
