// Packed weights and their products on every device: against their own values in double precision.
#include <cstdint>
#include <numeric>

#include "runtime/base/philox.h"
#include "runtime/ops/packed/packed_linear.h"
#include "runtime/ops/weight_blocks.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

const std::vector<PackedSpec> kSpecs = {{PackedFormat::f32},
                                        {PackedFormat::bf16},
                                        {PackedFormat::f16},
                                        {PackedFormat::q8_0},
                                        {PackedFormat::q4_0},
                                        {PackedFormat::q4_1},
                                        {PackedFormat::q4_k},
                                        {PackedFormat::q6_k},
                                        {PackedFormat::int8, 0, true},
                                        {PackedFormat::int8, 32, false},
                                        {PackedFormat::int8, 64, true},
                                        {PackedFormat::int8, 128, false},
                                        {PackedFormat::int4, 0, false},
                                        {PackedFormat::int4, 32, true},
                                        {PackedFormat::int4, 64, false},
                                        {PackedFormat::int4, 128, true},
                                        {PackedFormat::fp8}};

/// Of ggml's formats, as weight_blocks.h has them.
ops::BlockType block_type(PackedFormat format) {
  return static_cast<ops::BlockType>(static_cast<int>(format) - static_cast<int>(PackedFormat::q8_0));
}
bool has_blocks(PackedFormat format) { return format >= PackedFormat::q8_0 && format <= PackedFormat::q6_k; }

/// Numbers below `limit`, the same for the same seed.
class Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(seed) {}
  int64_t below(int64_t limit) {
    return static_cast<int64_t>(philox_normal4(seed_, next_++, 1)[0] * 1e4f + 1e5f) % limit;
  }
  int64_t between(int64_t least, int64_t most) { return least + below(most - least + 1); }

 private:
  uint64_t seed_, next_ = 0;
};

/// Rows of blocks of random bytes, their halves (scales, minima) of moderate size.
std::vector<std::byte> random_blocks(PackedFormat format, int64_t rows, int64_t inputs, uint64_t seed) {
  const ops::BlockLayout block = layout_of(block_type(format));
  const int64_t blocks = rows * inputs / block.elements;
  std::vector<std::byte> bytes(static_cast<size_t>(blocks * block.bytes));
  Draw draw(seed);
  for (std::byte& b : bytes) b = static_cast<std::byte>(draw.below(256));
  std::vector<int64_t> halves = {0};
  if (format == PackedFormat::q4_1 || format == PackedFormat::q4_k) halves = {0, 2};
  if (format == PackedFormat::q6_k) halves = {208};
  for (int64_t b = 0; b < blocks; ++b) {
    for (const int64_t at : halves) {
      const fp16 value(0.01f * static_cast<float>(draw.between(-30, 30)));
      std::memcpy(&bytes[static_cast<size_t>(b * block.bytes + at)], &value, sizeof(value));
    }
  }
  return bytes;
}

std::vector<float> random_values(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = philox_normal4(seed, i / 4, 0)[i % 4];
  return values;
}

PackedWeight random_weight(Context& ctx, const PackedSpec& spec, int64_t matrices, int64_t outputs,
                           int64_t inputs, uint64_t seed) {
  if (has_blocks(spec.format)) {
    const auto bytes = random_blocks(spec.format, matrices * outputs, inputs, seed);
    const auto a_row = static_cast<int64_t>(bytes.size()) / (matrices * outputs);
    return ops::pack_stored(ctx, spec.format, matrices, outputs, inputs,
                            [&](int64_t row) { return bytes.data() + row * a_row; });
  }
  const auto values = random_values(matrices * outputs * inputs, seed);
  return ops::pack_rows(ctx, spec, matrices, outputs, inputs, [&](int64_t row, std::span<float> to) {
    std::copy_n(values.begin() + row * inputs, inputs, to.begin());
  });
}

std::vector<float> values_of(Context& ctx, const PackedWeight& w) {
  std::vector<float> values(static_cast<size_t>(w.rows() * w.inputs));
  for (int64_t row = 0; row < w.rows(); ++row) {
    unpack_row(ctx, w, row,
               std::span(values).subspan(static_cast<size_t>(row * w.inputs), static_cast<size_t>(w.inputs)));
  }
  return values;
}

/// Inputs that the format takes: whole blocks, or any number.
int64_t draw_inputs(Draw& draw, PackedFormat format) {
  if (has_blocks(format)) {
    const int64_t block = layout_of(block_type(format)).elements;
    return block * draw.between(1, 640 / block);
  }
  return draw.between(1, 600);
}

/// x w^T + bias of one row and output, and the sum of magnitudes, by which errors are measured.
struct Product {
  double sum = 0, magnitude = 0;
};
Product product(const std::vector<float>& x, int64_t row, const std::vector<float>& w, int64_t output,
                int64_t inputs) {
  Product p;
  for (int64_t i = 0; i < inputs; ++i) {
    const double term = static_cast<double>(x[static_cast<size_t>(row * inputs + i)]) *
                        static_cast<double>(w[static_cast<size_t>(output * inputs + i)]);
    p.sum += term;
    p.magnitude += std::abs(term);
  }
  return p;
}

class PackedProducts : public SharedContexts,
                       public testing::WithParamInterface<std::tuple<PackedSpec, DType>> {
 protected:
  const PackedSpec& spec() const { return std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  uint64_t seed() const {
    return static_cast<uint64_t>(spec().format) * 1000 + static_cast<uint64_t>(spec().group) * 3 +
           static_cast<uint64_t>(dtype());
  }
  /// Minima are added apart on some devices: the sums that they are taken from may be larger than the result.
  double tolerance() const { return spec().format >= PackedFormat::q4_1 ? 1e-5 : 3e-6; }
  double rounding(DType of) const { return of == DType::f32 ? 0 : of == DType::bf16 ? 0x1p-8 : 0x1p-11; }

  Context& ctx_ = context();
};

TEST_P(PackedProducts, AreThoseOfTheirValues) {
  Draw draw(seed());
  for (const int64_t rows : {int64_t{1}, draw.between(2, 8), draw.between(9, 32), draw.between(33, 80)}) {
    const int64_t outputs = draw.between(1, 40), inputs = draw_inputs(draw, spec().format);
    SCOPED_TRACE(fmt::format("{} rows, {} outputs, {} inputs", rows, outputs, inputs));
    const PackedWeight w = random_weight(ctx_, spec(), 1, outputs, inputs, seed() + 1);
    const Tensor x = random_tensor(ctx_, {rows, inputs}, dtype(), seed() + 2);
    const Tensor bias = rows % 2 == 0 ? random_tensor(ctx_, {outputs}, DType::f32, seed() + 3) : Tensor();
    const DType of_y = rows % 3 == 0 ? DType::f32 : dtype();
    const ops::Columns y = widened(ctx_, full(ctx_, {rows, outputs}, of_y, std::nanf("")), 3, 2);
    packed_linear(ctx_, x, w, Activations::exact, bias, y);
    const auto values = values_of(ctx_, w), numbers = to_vector(x), results = to_vector(y);
    const auto added = bias ? to_vector(bias) : std::vector<float>(static_cast<size_t>(outputs));
    for (int64_t i = 0; i < rows * outputs; ++i) {
      const Product p = product(numbers, i / outputs, values, i % outputs, inputs);
      const double expected = p.sum + static_cast<double>(added[static_cast<size_t>(i % outputs)]);
      ASSERT_NEAR(results[static_cast<size_t>(i)], expected,
                  tolerance() * (1 + p.magnitude) + rounding(of_y) * std::abs(expected))
          << "row " << i / outputs << ", output " << i % outputs;
    }
  }
}

/// Whole rows beside others and alone; also where kernels for few and for many rows differ.
TEST_P(PackedProducts, ARowsBitsAreItsOwn) {
  Draw draw(seed() + 7);
  const int64_t rows = 67, outputs = draw.between(17, 30), inputs = draw_inputs(draw, spec().format);
  const PackedWeight w = random_weight(ctx_, spec(), 1, outputs, inputs, seed() + 1);
  const Tensor x = random_tensor(ctx_, {rows, inputs}, dtype(), seed() + 2);
  const Tensor all = Tensor::empty(ctx_, {rows, outputs}, DType::f32);
  packed_linear(ctx_, x, w, Activations::exact, {}, all);
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{66, 1}, {3, 7}, {20, 21}}) {
    // A copy, as a batch of its own would be.
    const Tensor some = Tensor::empty(ctx_, {count, outputs}, DType::f32);
    packed_linear(ctx_, clone(ctx_, x.slice(first, first + count)), w, Activations::exact, {}, some);
    EXPECT_TRUE(same_bits(some, all.slice(first, first + count))) << count << " rows from " << first;
  }
}

TEST_P(PackedProducts, OfExpertsAreThoseOfTheirMatrices) {
  Draw draw(seed() + 9);
  const int64_t outputs = draw.between(1, 20), inputs = draw_inputs(draw, spec().format);
  const std::vector<int64_t> counts = {2, 0, 35, 1, 9};
  const auto experts = static_cast<int64_t>(counts.size());
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const PackedWeight w = random_weight(ctx_, spec(), experts, outputs, inputs, seed());
  const Tensor x = random_tensor(ctx_, {rows, inputs}, dtype(), seed() + 2);
  const Tensor y = Tensor::empty(ctx_, {rows, outputs}, dtype());
  packed_grouped_linear(ctx_, x, counts, w, Activations::exact, y);
  const auto values = values_of(ctx_, w), numbers = to_vector(x), results = to_vector(y);
  int64_t row = 0;
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t end = row + counts[static_cast<size_t>(e)]; row < end; ++row) {
      for (int64_t o = 0; o < outputs; ++o) {
        const Product p = product(numbers, row, values, e * outputs + o, inputs);
        ASSERT_NEAR(results[static_cast<size_t>(row * outputs + o)], p.sum,
                    tolerance() * (1 + p.magnitude) + rounding(dtype()) * std::abs(p.sum))
            << "expert " << e << ", row " << row << ", output " << o;
      }
    }
  }
}

/// A table's part: ids of other parts give zeros; with learned positions and without.
TEST_P(PackedProducts, EmbeddingsAreRowsOfTheTable) {
  Draw draw(seed() + 11);
  const int64_t words = 21, width = draw_inputs(draw, spec().format), first = 5;
  const PackedWeight table = random_weight(ctx_, spec(), 1, words, width, seed());
  // Words of a table of the type.
  const auto values = to_vector(make_tensor(ctx_, {words, width}, dtype(), values_of(ctx_, table)));
  const std::vector<int32_t> ids = {5, 25, 4, 17, 26, 0}, places = {2, 0, 1, 1, 0, 2};
  const Tensor position_table = random_tensor(ctx_, {3, width}, dtype(), seed() + 1);
  const auto positions = to_vector(position_table);
  for (const bool with_positions : {false, true}) {
    const Tensor out = Tensor::empty(ctx_, {6, width}, dtype());
    packed_embedding(ctx_, make_indices(ctx_, ids), table, {first, 30},
                     with_positions ? make_indices(ctx_, places) : Tensor(),
                     with_positions ? position_table : Tensor(), out);
    std::vector<float> expected;
    for (size_t n = 0; n < ids.size(); ++n) {
      for (int64_t i = 0; i < width; ++i) {
        const int64_t row = ids[n] - first;
        const float word = row >= 0 && row < words ? values[static_cast<size_t>(row * width + i)] : 0.0f;
        expected.push_back(with_positions ? word + positions[static_cast<size_t>(places[n] * width + i)]
                                          : word);
      }
    }
    EXPECT_TRUE(same_bits(out, make_tensor(ctx_, {6, width}, dtype(), expected))) << with_positions;
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<PackedSpec, DType>>& info) {
  const auto& [spec, dtype] = info.param;
  constexpr const char* kNames[] = {"f32",  "bf16", "f16",  "q8_0", "q4_0", "q4_1",
                                    "q4_k", "q6_k", "int8", "int4", "fp8"};
  return fmt::format("{}_{}{}_{}", kNames[static_cast<size_t>(spec.format)], spec.group,
                     spec.symmetric ? "" : "_asymmetric", to_string(dtype));
}
/// fp16 beside one format of each width: the others are the same templates.
std::vector<std::tuple<PackedSpec, DType>> format_cases() {
  std::vector<std::tuple<PackedSpec, DType>> cases;
  for (size_t i = 0; i < kSpecs.size(); ++i) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      if (dtype != DType::f16 || i % 3 == 1 || kSpecs[i].format == PackedFormat::f16) {
        cases.emplace_back(kSpecs[i], dtype);
      }
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Formats, PackedProducts, testing::ValuesIn(format_cases()), name_of);

/// Values are those of the reference's decoder, bit for bit.
TEST(PackedValues, AreThoseOfTheBlocks) {
  Context ctx(test_device(), 3);
  for (const PackedFormat format :
       {PackedFormat::q8_0, PackedFormat::q4_0, PackedFormat::q4_1, PackedFormat::q4_k, PackedFormat::q6_k}) {
    SCOPED_TRACE(static_cast<int>(format));
    const int64_t rows = 37, inputs = 768;
    const auto bytes = random_blocks(format, rows, inputs, 3);
    const auto a_row = static_cast<int64_t>(bytes.size()) / rows;
    const PackedWeight w = ops::pack_stored(ctx, format, 1, rows, inputs,
                                            [&](int64_t row) { return bytes.data() + row * a_row; });
    std::vector<float> expected(static_cast<size_t>(rows * inputs));
    decode_blocks(block_type(format), bytes, expected);
    const auto values = values_of(ctx, w);
    EXPECT_EQ(std::memcmp(values.data(), expected.data(), expected.size() * sizeof(float)), 0);
  }
}

TEST(PackedValues, OfFloatsAreRounded) {
  Context ctx(test_device(), 3);
  const int64_t rows = 19, inputs = 75;
  const auto values = random_values(rows * inputs, 1);
  for (const PackedFormat format : {PackedFormat::f32, PackedFormat::bf16, PackedFormat::f16}) {
    const PackedWeight w =
        ops::pack_rows(ctx, {format}, 1, rows, inputs, [&](int64_t row, std::span<float> to) {
          std::copy_n(values.begin() + row * inputs, inputs, to.begin());
        });
    std::vector<float> expected = values;
    for (float& x : expected) {
      if (format == PackedFormat::bf16) x = bf16(x);
      if (format == PackedFormat::f16) x = fp16(x);
    }
    EXPECT_EQ(values_of(ctx, w), expected) << static_cast<int>(format);
  }
}

}  // namespace
}  // namespace trireme::test
