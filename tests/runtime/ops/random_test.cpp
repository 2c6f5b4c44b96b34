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

}  // namespace
}  // namespace trireme::test
