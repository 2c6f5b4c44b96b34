#include "runtime/ops/weight_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/base/philox.h"

namespace trireme::ops {
namespace {

constexpr std::array kTypes = {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1, BlockType::q4_k,
                               BlockType::q6_k};

std::vector<float> drawn(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = philox4x32(seed, i, 0);
    float sum = 0;  // nearly normal
    for (const uint32_t word : bits) sum += static_cast<float>(word) / 4294967296.0f - 0.5f;
    values[i] = sum;
  }
  return values;
}

std::vector<std::byte> encoded(BlockType type, int64_t columns, const std::vector<float>& values,
                               const std::vector<float>& importance = {}, int threads = 1) {
  const BlockLayout layout = layout_of(type);
  std::vector<std::byte> blocks(values.size() / static_cast<size_t>(layout.elements) *
                                static_cast<size_t>(layout.bytes));
  encode_rows(type, columns, values, importance, blocks, threads);
  return blocks;
}

std::vector<float> there_and_back(BlockType type, int64_t columns, const std::vector<float>& values,
                                  const std::vector<float>& importance = {}) {
  std::vector<float> decoded(values.size());
  decode_blocks(type, encoded(type, columns, values, importance), decoded);
  return decoded;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b,
                     const std::vector<float>& importance = {}) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double apart = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum +=
        apart * apart * (importance.empty() ? 1.0 : static_cast<double>(importance[i % importance.size()]));
  }
  return sum;
}

/// The plain way: each block's range divided evenly, factors rounded. `block` elements share a factor.
std::vector<float> plainly(const std::vector<float>& values, size_t block, float levels, float factors,
                           bool has_least) {
  std::vector<float> result(values.size());
  for (size_t super = 0; super < values.size(); super += 256) {
    std::array<float, 16> scales{}, offsets{};
    float scale = 0, offset = 0;
    for (size_t b = 0; b < 256 / block; ++b) {
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(super + b * block);
      const auto [low, high] = std::minmax_element(first, first + static_cast<std::ptrdiff_t>(block));
      offsets[b] = has_least ? -std::min(*low, 0.0f) : 0;
      scales[b] =
          has_least ? (*high + offsets[b]) / levels : std::max(std::abs(*low), std::abs(*high)) / levels;
      scale = std::max(scale, scales[b]), offset = std::max(offset, offsets[b]);
    }
    const float d = fp16(scale / factors), m = fp16(offset / factors);
    for (size_t i = 0; i < 256; ++i) {
      const float D = d * std::round(scales[i / block] / d),
                  M = m > 0 ? m * std::round(offsets[i / block] / m) : 0;
      const float code = D > 0 ? std::round((values[super + i] + M) / D) : 0;
      result[super + i] = D * std::clamp(code, has_least ? 0.0f : -levels, levels) - M;
    }
  }
  return result;
}

TEST(EncodedBlocks, LoseLessThanEvenlyDividedOnes) {
  const std::vector<float> values = drawn(256 * 40, 7);
  std::vector<float> shifted = values;
  for (size_t i = 0; i < shifted.size(); ++i) shifted[i] += i / 256 % 2 == 0 ? 0.4f : -0.4f;
  for (const auto& x : {values, shifted}) {
    EXPECT_LT(squared_error(there_and_back(BlockType::q4_k, 256, x), x),
              0.9 * squared_error(plainly(x, 32, 15, 63, true), x));
    EXPECT_LT(squared_error(there_and_back(BlockType::q6_k, 256, x), x),
              0.95 * squared_error(plainly(x, 16, 31, 127, false), x));
    // Scales of their own, in fp16, are better than factors of six bits.
    EXPECT_LT(squared_error(there_and_back(BlockType::q4_1, 256, x), x),
              squared_error(there_and_back(BlockType::q4_k, 256, x), x));
    EXPECT_LT(squared_error(there_and_back(BlockType::q6_k, 256, x), x),
              0.1 * squared_error(there_and_back(BlockType::q4_k, 256, x), x));
  }
}

// Numbers that blocks have are found again: every bit of the layout is where the decoder looks for it.
TEST(EncodedBlocks, FindNumbersOfTheFormat) {
  std::vector<float> values(512), shifted(512);
  for (int i = 0; i < 512; ++i) {
    const int block = i / 32, six = i / 16;
    const int code = i % 32 < 2 ? i % 2 * 15 : (i * 7 + block) % 16;
    const auto scale = static_cast<float>(block % 8 == 3 ? 63 : 5 * (block % 8) + 11);
    const auto offset = static_cast<float>(block % 8 == 5 ? 63 : 4 * (block % 8) + 3);
    shifted[static_cast<size_t>(i)] = scale * static_cast<float>(code) / 64.0f - offset / 16.0f;
    const int wide = i % 16 < 2 ? i % 2 * 31 - 32 * (1 - i % 2) : (i * 11 + six) % 64 - 32;
    values[static_cast<size_t>(i)] =
        static_cast<float>((six % 16 == 2 ? -128 : 7 * (six % 16) - 60) * wide) / 1024.0f;
  }
  EXPECT_LT(squared_error(there_and_back(BlockType::q4_k, 512, shifted), shifted),
            1e-7 * squared_error(shifted, std::vector<float>(512)));
  EXPECT_LT(squared_error(there_and_back(BlockType::q6_k, 512, values), values),
            1e-7 * squared_error(values, std::vector<float>(512)));
}

TEST(EncodedBlocks, OfQ4_0AreThoseOfTheReference) {
  std::vector<float> values = drawn(32 * 64, 3);
  std::fill_n(values.begin() + 32, 32, 0.01f);
  values[40] = -0.36694336f, values[41] = -0.65234375f;  // almost half way between two codes
  values[5] = -values[6];                                // ties: the first counts
  std::fill_n(values.begin() + 64, 32, 0.0f);
  std::fill_n(values.begin() + 96, 32, -2.0f);
  const std::vector<std::byte> blocks = encoded(BlockType::q4_0, 64, values);
  for (size_t b = 0; b < 64; ++b) {
    const float* x = values.data() + b * 32;
    const float largest =
        *std::max_element(x, x + 32, [](float p, float q) { return std::abs(p) < std::abs(q); });
    const float scale = largest / -8.0f, inverse = scale == 0 ? 0 : 1.0f / scale;
    const fp16 stored(scale);
    ASSERT_EQ(std::memcmp(&stored.bits, blocks.data() + b * 18, 2), 0) << b;
    for (size_t i = 0; i < 32; ++i) {
      volatile float product = x[i] * inverse;  // rounded before the sum
      const int code = std::min(15, static_cast<int>(product + 8.5f));
      const auto byte = std::to_integer<int>(blocks[b * 18 + 2 + i % 16]);
      ASSERT_EQ(i < 16 ? byte & 15 : byte >> 4, code) << b << " " << i;
    }
  }
}

TEST(EncodedBlocks, TakeOddContents) {
  for (const BlockType type : kTypes) {
    SCOPED_TRACE(static_cast<int>(type));
    const std::vector<float> zeros(512, 0.0f);
    EXPECT_EQ(there_and_back(type, 256, zeros), zeros);
    for (const float size : {1e-6f, 1.0f, 60000.0f}) {
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> constant(256, sign * size);
        for (const float value : there_and_back(type, 256, constant))
          EXPECT_NEAR(value / size, sign, size < 1e-3f ? 1.0f : 0.01f);
        std::vector<float> outlier = drawn(256, 4);
        for (float& value : outlier) value *= 0.01f * size;
        outlier[40] = sign * size;
        const std::vector<float> back = there_and_back(type, 256, outlier);
        for (size_t i = 0; i < back.size(); ++i)
          EXPECT_NEAR(back[i] / size, outlier[i] / size, size < 1e-3f ? 1 : 0.06f);
      }
    }
    const float largest = largest_in(type);
    std::vector<float> huge(256);
    for (size_t i = 0; i < huge.size(); ++i)
      huge[i] = i % 3 == 0 ? largest : -largest / static_cast<float>(i);
    for (const float value : there_and_back(type, 256, huge)) EXPECT_TRUE(std::isfinite(value));
    const std::vector<float> tiny(256, std::numeric_limits<float>::denorm_min());
    for (const float value : there_and_back(type, 256, tiny)) EXPECT_NEAR(value, 0, 1e-7f);
    EXPECT_TRUE(encoded(type, 256, {}).empty());
  }
}

TEST(EncodedBlocks, RefuseWhatTheyCannotHold) {
  for (const BlockType type : kTypes) {
    std::vector<float> values(256, 1.0f);
    EXPECT_TRUE(can_encode(type, values));
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN(), largest_in(type) * 1.01f}) {
      values[200] = bad;
      EXPECT_FALSE(can_encode(type, values)) << bad;
    }
    values[200] = -largest_in(type);
    EXPECT_TRUE(can_encode(type, values));
    std::vector<std::byte> blocks(1000);
    EXPECT_THROW(encode_rows(type, 48, std::vector<float>(48), {}, blocks), InternalError);
    EXPECT_THROW(encode_rows(type, 256, std::vector<float>(256), {}, blocks), InternalError);
  }
  std::vector<std::byte> block(144);
  EXPECT_THROW(encode_rows(BlockType::q4_k, 256, std::vector<float>(256), std::vector<float>(3, 1.0f), block),
               InternalError);
  EXPECT_THROW(
      encode_rows(BlockType::q4_k, 256, std::vector<float>(256), std::vector<float>(256, -1.0f), block),
      InternalError);
}

TEST(EncodedBlocks, WeighErrorsByImportance) {
  const std::vector<float> values = drawn(512 * 8, 9);
  std::vector<float> importance = drawn(512, 10);
  for (float& one : importance) one = one > 0.3f ? 40.0f : one > 0 ? one : 0.0f;
  for (const BlockType type : {BlockType::q4_1, BlockType::q4_k, BlockType::q6_k}) {
    EXPECT_LT(squared_error(there_and_back(type, 512, values, importance), values, importance),
              0.9 * squared_error(there_and_back(type, 512, values), values, importance));
    // Inputs that never count are not lost, and none that counts is none at all.
    EXPECT_LT(squared_error(there_and_back(type, 512, values, importance), values),
              0.05 * squared_error(values, std::vector<float>(values.size())));
    EXPECT_EQ(encoded(type, 512, values, std::vector<float>(512, 0.0f)), encoded(type, 512, values));
  }
}

TEST(EncodedBlocks, AreTheSameRowByRowAndForAnyThreads) {
  constexpr int64_t kRows = 300;
  const std::vector<float> values = drawn(kRows * 512, 5);
  const std::vector<float> importance(512, 2.5f);
  for (const BlockType type : kTypes) {
    const std::vector<std::byte> one = encoded(type, 512, values, importance, 1);
    EXPECT_EQ(one, encoded(type, 512, values, importance, 3));
    const std::vector<float> last(values.end() - 512, values.end());
    const std::vector<std::byte> alone = encoded(type, 512, last, importance);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), one.end() - std::ssize(alone)));
  }
}

}  // namespace
}  // namespace trireme::ops
