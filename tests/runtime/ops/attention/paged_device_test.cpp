// Attention to a cache in blocks on every device: against plain loops in double precision.
#include "tests/runtime/ops/attention/paged_device_cache.h"

namespace trireme::test::paged_device {
namespace {

PagedShape shape_of(int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t window = 0, float soft_cap = 0,
                    const ops::KeyPattern& pattern = {}) {
  return {.num_heads = heads,
          .num_kv_heads = kv_heads,
          .head_dim = head_dim,
          .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
          .window = window,
          .soft_cap = soft_cap,
          .pattern = pattern};
}

std::vector<PagedCase> paged_cases() {
  using enum CacheType;
  return {
      {"decode", shape_of(4, 2, 64), 16, plain, {{1, 1}, {300, 1}, {17, 1}}},
      {"groups_of_8", shape_of(8, 1, 64), 32, plain, {{530, 1}, {40, 2}}},
      {"odd_head", shape_of(3, 3, 33), 16, plain, {{70, 3}, {5, 5}}},
      {"large_head", shape_of(2, 1, 256), 16, plain, {{37, 2}, {20, 20}}},
      {"chunk", shape_of(2, 2, 32), 16, plain, {{290, 37}, {64, 64}, {257, 1}}},
      {"head_80", shape_of(2, 2, 80), 48, plain, {{100, 19}}},
      {"head_128", shape_of(2, 1, 128), 16, plain, {{270, 18}, {33, 1}}},
      {"window", shape_of(4, 2, 64, 40), 16, plain, {{600, 1}, {310, 34}, {30, 30}}},
      {"window_1", shape_of(2, 2, 16, 1), 16, plain, {{50, 4}}},
      {"soft_cap", shape_of(4, 2, 64, 0, 1.5f), 16, plain, {{90, 2}, {41, 20}}},
      {"int8", shape_of(4, 2, 64), 16, int8, {{300, 1}, {50, 35}}},
      {"int8_window_soft_cap", shape_of(6, 2, 40, 33, 2), 32, int8, {{280, 7}, {65, 12}}},
      {"sinks", shape_of(4, 2, 64, 20, 0, {.sinks = 4}), 16, plain, {{600, 1}, {310, 34}, {30, 30}}},
      {"strided",
       shape_of(2, 1, 48, 5, 0, {.stride = 130, .stride_keys = 3}),
       16,
       plain,
       {{700, 2}, {300, 9}}},
      {"summaries",
       shape_of(4, 2, 64, 0, 2, {.block = 100, .summary = 3, .reach = 4}),
       32,
       int8,
       {{690, 1}, {420, 20}, {99, 2}}},
      {"globals",
       shape_of(2, 2, 128, 3, 0, {.num_globals = 2, .globals = {70, 299}}),
       16,
       plain,
       {{600, 1}, {305, 12}}},
      {"int8_head_128", shape_of(4, 1, 128), 16, int8, {{260, 20}, {9, 1}}},
  };
}

class PagedAttentionOnDevices : public SharedContexts,
                                public testing::WithParamInterface<std::tuple<PagedCase, DType>> {
 protected:
  const PagedCase& paged() const { return std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  std::vector<Cache::Part> whole_batch() const {
    std::vector<Cache::Part> parts;
    for (size_t i = 0; i < paged().sequences.size(); ++i) {
      const auto [length, rows] = paged().sequences[i];
      parts.push_back({i, length - rows, rows});
    }
    return parts;
  }
  Context& ctx_ = context();
};

TEST_P(PagedAttentionOnDevices, IsThatOfPlainLoops) {
  const Cache cache(ctx_, paged(), dtype(), 1);
  const auto parts = whole_batch();
  std::vector<double> expected;
  for (const auto& part : parts) {
    const auto of_part = cache.expected(part);
    expected.insert(expected.end(), of_part.begin(), of_part.end());
  }
  // Weights of keys may be rounded to the type before they are multiplied with values.
  expect_close(to_vector(cache.attend(parts)), expected,
               dtype() == DType::f32    ? 1e-5
               : dtype() == DType::bf16 ? 0x1p-6
                                        : 0x1p-9);
}

/// Alone as beside others, and one by one as in a chunk.
TEST_P(PagedAttentionOnDevices, ARowsBitsAreItsOwn) {
  const Cache cache(ctx_, paged(), dtype(), 1);
  const auto parts = whole_batch();
  const Tensor together = cache.attend(parts);
  int32_t row = 0;
  for (const auto& [sequence, first, count] : parts) {
    for (const int32_t i : {0, count / 2, count - 1}) {
      EXPECT_TRUE(same_bits(cache.attend({{sequence, first + i, 1}}), together.slice(row + i, row + i + 1)))
          << "sequence " << sequence << ", place " << first + i;
    }
    const int32_t half = count / 3 + 1;
    if (half < count) {
      EXPECT_TRUE(same_bits(cache.attend({{sequence, first, half}}), together.slice(row, row + half)));
    }
    row += count;
  }
}

TEST(PagedBlocks, CopiesOfThemServeAsWell) {
  Context ctx(test_device(), 3);
  for (const CacheType type : {CacheType::plain, CacheType::int8}) {
    const PagedCase c{"", shape_of(2, 2, 24), 16, type, {{90, 1}}};
    Cache cache(ctx, c, DType::bf16, 1);
    const Tensor before = cache.attend({{0, 89, 1}});
    cache.move_last_block(0);
    EXPECT_TRUE(same_bits(cache.attend({{0, 89, 1}}), before));
  }
}

std::string paged_name(const testing::TestParamInfo<std::tuple<PagedCase, DType>>& info) {
  return fmt::format("{}_{}", std::get<0>(info.param).name, to_string(std::get<1>(info.param)));
}
std::vector<std::tuple<PagedCase, DType>> typed_cases() {
  std::vector<std::tuple<PagedCase, DType>> cases;
  for (const PagedCase& c : paged_cases()) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      // The templates of bf16.
      if (dtype != DType::f16 || c.name == "decode" || c.name == "int8") cases.emplace_back(c, dtype);
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Cases, PagedAttentionOnDevices, testing::ValuesIn(typed_cases()), paged_name);

}  // namespace
}  // namespace trireme::test::paged_device
