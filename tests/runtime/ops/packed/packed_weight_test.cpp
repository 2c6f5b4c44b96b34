#include "tests/runtime/ops/packed/packed_cases.h"

#include <limits>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

class PackedWeightTest : public SharedContexts {
 protected:
  Context& ctx_ = context();
  Context& threads_ = context(3);

  PackedWeight pack(Context& ctx, const PackedSpec& spec, int64_t inputs, const std::vector<float>& values) {
    const auto rows = static_cast<int64_t>(values.size()) / inputs;
    return ops::pack_rows(ctx, spec, 1, rows, inputs, [&](int64_t row, std::span<float> to) {
      std::copy_n(values.begin() + row * inputs, inputs, to.begin());
    });
  }
};

TEST_F(PackedWeightTest, BlocksKeepTheirValuesBitForBit) {
  Draws draws(1);
  for (const PackedSpec& spec : block_specs()) {
    for (int i = 0; i < 6; ++i) {
      const int64_t matrices = draws.number(1, 3), outputs = draws.number(1, 40);
      const int64_t inputs = drawn_inputs(spec, 1100, draws), rows = matrices * outputs;
      const auto blocks = drawn_blocks(spec.format, rows, inputs, draws);
      const size_t row_bytes = blocks.size() / static_cast<size_t>(rows);
      // Rows lie apart and at odd addresses, as in a file.
      std::vector<std::byte> file(static_cast<size_t>(rows) * (row_bytes + 3));
      for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
        std::memcpy(file.data() + r * (row_bytes + 3) + 1, blocks.data() + r * row_bytes, row_bytes);
      }
      const PackedWeight w = ops::pack_stored(
          i % 2 == 0 ? ctx_ : threads_, spec.format, matrices, outputs, inputs,
          [&](int64_t row) { return file.data() + static_cast<size_t>(row) * (row_bytes + 3) + 1; });
      std::vector<float> expected(static_cast<size_t>(rows * inputs));
      ops::decode_blocks(block_type(spec.format), blocks, expected);
      const std::vector<float> values = unpacked(ctx_, w);
      ASSERT_EQ(std::memcmp(values.data(), expected.data(), 4 * values.size()), 0)
          << to_string(spec) << ", " << matrices << " matrices [" << outputs << ", " << inputs << "]";
    }
  }
}

// Half the distance of neighbouring numbers, which is at most 2^-7 more than the group's values need.
TEST_F(PackedWeightTest, NumbersOfGroupsAreTheNearest) {
  Draws draws(2);
  for (const PackedSpec& spec : group_specs()) {
    const int64_t inputs = draws.number(1, 300), outputs = draws.number(1, 20);
    const int64_t group = spec.group == 0 ? inputs : spec.group;
    const float top = spec.format == PackedFormat::int8 ? 255.0f : 15.0f;
    std::vector<float> values(static_cast<size_t>(inputs * outputs));
    for (float& value : values) value = draws.normal() + 1.0f;
    for (int64_t r = 0; r < outputs; ++r) {  // of any size, zeros, and one that outweighs all others
      const float scale = r == 0 ? 0.0f : r == 1 ? 1e30f : r == 2 ? 1e-30f : 0.02f;
      for (int64_t i = 0; i < inputs; ++i) values[static_cast<size_t>(r * inputs + i)] *= scale;
      if (r == 3) values[static_cast<size_t>(r * inputs)] = -1e9f;
    }
    const std::vector<float> packed = unpacked(ctx_, pack(threads_, spec, inputs, values));
    for (int64_t r = 0; r < outputs; ++r) {
      for (int64_t begin = 0; begin < inputs; begin += group) {
        const auto *first = values.data() + r * inputs + begin,
                   *last = values.data() + r * inputs + std::min(inputs, begin + group);
        const float least = std::min(0.0f, *std::min_element(first, last)),
                    most = std::max(0.0f, *std::max_element(first, last));
        const double range = spec.symmetric ? 2.0 * std::max(-least, most) / (top - 1) : (most - least) / top;
        const double error = std::max(0x1p-65, 0.5 * range * (1 + 0x1p-7) * (1 + 1e-6));
        for (const float* v = first; v < last; ++v) {
          ASSERT_LE(std::abs(*v - packed[static_cast<size_t>(v - values.data())]), error)
              << to_string(spec) << ", row " << r << ", " << *v << " within " << least << " and " << most;
        }
      }
    }
  }
}

TEST_F(PackedWeightTest, GroupsHoldNumbersThatTheyCan) {
  for (const PackedSpec& spec : group_specs()) {
    // Steps of a power of two need no rounding of the scale.
    const int steps = spec.format == PackedFormat::int8 ? 127 : 7;
    std::vector<float> values(2 * 131);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t input = i % 131;
      int step = static_cast<int>(i) % (2 * steps + 1) - steps;
      if (input % 32 == 0) step = -steps;
      if (input % 32 == 1) step = spec.symmetric ? steps : steps + 1;
      values[i] = 0.125f * static_cast<float>(step);
    }
    EXPECT_EQ(unpacked(ctx_, pack(ctx_, spec, 131, values)), values) << to_string(spec);
  }
}

TEST_F(PackedWeightTest, IntegersRefuseWhatIsNotFinite) {
  for (const PackedSpec& spec : group_specs()) {
    for (const float wrong : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      std::vector<float> values(40 * 70, 0.5f);
      values[33 * 70 + 66] = wrong;
      try {
        pack(threads_, spec, 70, values);
        FAIL() << to_string(spec);
      } catch (const UserError& error) {
        EXPECT_EQ(error.code(), ExitCode::bad_input);
        EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("row 33"), testing::HasSubstr("input 66"),
                                                 testing::HasSubstr(to_string(spec))));
      }
    }
  }
}

TEST_F(PackedWeightTest, RefusesWhatDoesNotFit) {
  const std::vector<float> values(64, 1.0f);
  EXPECT_THROW(pack(ctx_, {PackedFormat::int8, 48}, 64, values), InternalError);
  EXPECT_THROW(pack(ctx_, {PackedFormat::bf16, 32}, 64, values), InternalError);
  EXPECT_THROW(pack(ctx_, {PackedFormat::q8_0}, 64, values), InternalError);
  const std::vector<std::byte> bytes(1000);
  const auto row = [&](int64_t) { return bytes.data(); };
  EXPECT_THROW(ops::pack_stored(ctx_, PackedFormat::int4, 1, 1, 32, row), InternalError);
  EXPECT_THROW(ops::pack_stored(ctx_, PackedFormat::q4_k, 1, 1, 128, row), InternalError);
  EXPECT_THROW(ops::pack_stored(ctx_, PackedFormat::q8_0, 1, 1, 40, row), InternalError);
  const PackedWeight w = pack(ctx_, {PackedFormat::int8}, 64, values);
  std::vector<float> out(64);
  EXPECT_THROW(ops::unpack_row(ctx_, w, 1, out), InternalError);
  EXPECT_THROW(ops::unpack_row(ctx_, w, 0, std::span(out).first(63)), InternalError);
}

TEST(PackedSpecTest, Names) {
  EXPECT_EQ(to_string(PackedSpec{PackedFormat::q4_1}), "q4_1");
  EXPECT_EQ(to_string(PackedSpec{PackedFormat::bf16}), "bf16");
  EXPECT_EQ(to_string(PackedSpec{PackedFormat::int4, 64, false}), "int4 in groups of 64, asymmetric");
  EXPECT_EQ(to_string(PackedSpec{PackedFormat::int8}), "int8 per channel");
  EXPECT_FALSE(ops::is_integer(PackedFormat::f16));
  EXPECT_TRUE(ops::is_integer(PackedFormat::q8_0) && ops::is_integer(PackedFormat::int4));
}

}  // namespace
}  // namespace trireme::test
