#include "runtime/ops/random.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

Tensor normal_block(Context& ctx, const Shape& global, const Shape& offset, const Shape& extent,
                    uint64_t seed = 7, std::string_view name = "wte.weight", float mean = 0.0f,
                    float std = 1.0f) {
  const Tensor t = Tensor::empty(ctx, extent, DType::f32);
  ops::fill_normal(ctx, t, seed, name, global, offset, mean, std);
  return t;
}

TEST(FillNormal, IsAFunctionOfTheGlobalElementAlone) {
  Context ctx(test_device()), threads(test_device(), 3);
  const Shape global{3, 50, 301};
  const Tensor whole = normal_block(ctx, global, {0, 0, 0}, global);
  EXPECT_TRUE(same_bits(whole, normal_block(threads, global, {0, 0, 0}, global)));
  const uint64_t key = stream_key(7, "wte.weight");
  const auto numbers = to_vector(whole);
  for (int64_t g = 0; g < whole.numel(); ++g) {
    ASSERT_EQ(numbers[static_cast<size_t>(g)],
              philox_normal4(key, static_cast<uint64_t>(g / 4), 0)[static_cast<size_t>(g % 4)])
        << g;
  }
}

TEST(FillNormal, BlocksEqualTheSameBlocksCutFromTheWhole) {
  Context ctx(test_device());
  const Shape global{3, 5, 7};
  const Tensor whole = normal_block(ctx, global, {0, 0, 0}, global);
  const auto all = to_vector(whole);
  struct Block {
    Shape offset, extent;
  };
  for (const Block& b :
       {Block{{0, 0, 0}, {1, 1, 1}}, Block{{1, 0, 0}, {2, 5, 7}}, Block{{0, 2, 0}, {3, 2, 7}},
        Block{{1, 1, 3}, {2, 3, 3}}, Block{{2, 4, 6}, {1, 1, 1}}, Block{{0, 0, 2}, {3, 5, 0}},
        Block{{0, 0, 5}, {3, 5, 2}}, Block{{1, 2, 0}, {1, 3, 7}}}) {
    const Tensor block = normal_block(ctx, global, b.offset, b.extent);
    const auto here = to_vector(block);
    auto at = here.begin();
    for (int64_t i = 0; i < b.extent[0]; ++i) {
      for (int64_t j = 0; j < b.extent[1]; ++j) {
        for (int64_t k = 0; k < b.extent[2]; ++k) {
          const int64_t g = ((b.offset[0] + i) * 5 + b.offset[1] + j) * 7 + b.offset[2] + k;
          ASSERT_EQ(*at++, all[static_cast<size_t>(g)])
              << to_string(b.offset) << " + " << to_string(b.extent);
        }
      }
    }
  }
}

TEST(FillNormal, HasTheMomentsAskedFor) {
  Context ctx(test_device());
  constexpr int64_t kSize = 400001;
  const auto values = to_vector(normal_block(ctx, {kSize}, {0}, {kSize}, 1, "h.0.attn", 0.5f, 2.0f));
  double moments[5] = {};
  for (const float x : values) {
    const double z = (x - 0.5) / 2.0;
    for (int i = 1; i < 5; ++i) moments[i] += std::pow(z, i) / kSize;
  }
  EXPECT_NEAR(moments[1], 0, 0.01);
  EXPECT_NEAR(moments[2], 1, 0.01);
  EXPECT_NEAR(moments[3], 0, 0.03);
  EXPECT_NEAR(moments[4], 3, 0.08);
}

TEST(FillNormal, SeedsAndNamesGiveUnrelatedNumbers) {
  Context ctx(test_device());
  constexpr int64_t kSize = 100000;
  const auto first = to_vector(normal_block(ctx, {kSize}, {0}, {kSize}, 1, "a"));
  for (const auto& [seed, name] : {std::pair<uint64_t, const char*>{2, "a"}, {1, "b"}, {0, "a"}}) {
    const auto other = to_vector(normal_block(ctx, {kSize}, {0}, {kSize}, seed, name));
    double correlation = 0;
    for (size_t i = 0; i < first.size(); ++i) correlation += double{first[i]} * other[i] / kSize;
    EXPECT_NEAR(correlation, 0, 0.015) << seed << name;
  }
}

TEST(FillNormal, ScalarsAndRefusals) {
  Context ctx(test_device());
  EXPECT_EQ(to_vector(normal_block(ctx, {}, {}, {}))[0],
            philox_normal4(stream_key(7, "wte.weight"), 0, 0)[0]);
  EXPECT_THROW(normal_block(ctx, {4, 4}, {0, 2}, {4, 3}), InternalError);
  EXPECT_THROW(normal_block(ctx, {4, 4}, {0}, {4, 4}), InternalError);
  EXPECT_THROW(normal_block(ctx, {16}, {0, 0}, {4, 4}), InternalError);
  EXPECT_THROW(ops::fill_normal(ctx, Tensor::empty(ctx, {4}, DType::bf16), 1, "x", {4}, {0}, 0, 1),
               InternalError);
}

class JitterTest : public OpTest {
 protected:
  static constexpr int64_t kPerSample = 5;
  // Rows from first_row on of samples 7, 8, ..., of which this rank holds the places 3 to 7.
  Tensor jittered(Context& ctx, const Tensor& x, int64_t first_row, const ops::JitterOptions& options) {
    std::vector<int32_t> places;
    for (int64_t row = 0; row < first_row + x.dim(0); ++row)
      places.push_back(static_cast<int32_t>(3 + row % kPerSample));
    const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
    ops::jitter(ctx, options, make_indices(ctx, places), first_row, x, y);
    return y;
  }
  ops::JitterOptions options_{.eps = 0.25f, .key = 11, .first_sample = 7, .rows_per_sample = kPerSample};
};
TRIREME_FOR_COMPUTE_TYPES(JitterTest);

TEST_P(JitterTest, IsAFunctionOfSamplePlaceAndColumn) {
  for (const int64_t width : {1, 3, 8, 50, 301}) {
    const Tensor x = random_tensor(ctx_, {13, width}, dtype(), 1), y = jittered(ctx_, x, 0, options_);
    EXPECT_TRUE(same_bits(y, jittered(threads_, x, 0, options_)));
    std::vector<float> expected;
    const auto values = to_vector(x);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const auto row = static_cast<uint64_t>(i / width), column = static_cast<uint64_t>(i % width);
      const auto bits = philox4x32(11, ((3 + row % kPerSample) << 32) + column / 4, 7 + row / kPerSample);
      const float noise = 2.0f * uniform_from_bits(bits[column % 4]) - 1.0f;
      expected.push_back(values[static_cast<size_t>(i)] * (1.0f + 0.25f * noise));
    }
    EXPECT_TRUE(same_bits(y, make_tensor(ctx_, x.shape(), dtype(), expected))) << "width " << width;
    // A part equals the same part of the whole.
    EXPECT_TRUE(same_bits(jittered(ctx_, x.slice(4, 11), 4, options_), y.slice(4, 11)));
    ops::JitterOptions none = options_;
    none.eps = 0;
    EXPECT_TRUE(same_bits(jittered(ctx_, x, 0, none), x));
  }
}

TEST_P(JitterTest, FactorsFillTheRangeEvenly) {
  const Tensor y = jittered(ctx_, full(ctx_, {100, 1000}, dtype(), 1.0f), 0, options_);
  double sum = 0, squares = 0;
  float least = 2, most = 0;
  for (const float factor : to_vector(y)) {
    sum += factor - 1;
    squares += (factor - 1) * (factor - 1);
    least = std::min(least, factor);
    most = std::max(most, factor);
  }
  EXPECT_NEAR(sum / 1e5, 0, 0.002);
  EXPECT_NEAR(squares / 1e5, 0.25 * 0.25 / 3, 0.0005);
  EXPECT_NEAR(least, 0.75, 0.005);
  EXPECT_NEAR(most, 1.25, 0.005);
}

TEST_P(JitterTest, NoRowsAndRefusals) {
  EXPECT_EQ(jittered(ctx_, Tensor::empty(ctx_, {0, 8}, dtype()), 0, options_).numel(), 0);
  const Tensor x = random_tensor(ctx_, {2, 8}, dtype(), 1);
  const Tensor one_place = make_indices(ctx_, {0});
  EXPECT_THROW(ops::jitter(ctx_, options_, one_place, 0, x, x), InternalError);
  ops::JitterOptions wide = options_;
  wide.eps = 1;
  EXPECT_THROW(ops::jitter(ctx_, wide, make_indices(ctx_, {0, 1}), 0, x, x), InternalError);
}

}  // namespace
}  // namespace trireme::test
