#include "runtime/ops/packed/coded_blocks.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"

namespace trireme::ops {
namespace {

/// Scales are numbers of bf16 that fp16 has.
CodedMatrix drawn(PackedFormat format, int64_t group, bool symmetric, int64_t outputs, int64_t inputs) {
  CodedMatrix m;
  m.spec = {format, group, symmetric};
  m.outputs = outputs;
  m.inputs = inputs;
  const int64_t size = group > 0 ? group : inputs, groups = outputs * ((inputs + size - 1) / size);
  const uint32_t most = format == PackedFormat::int4 ? 16 : 256;
  for (int64_t i = 0; i < outputs * inputs; ++i)
    m.codes.push_back(static_cast<uint8_t>(philox4x32(1, static_cast<uint64_t>(i), 0)[0] % most));
  for (int64_t i = 0; i < groups; ++i) {
    const auto bits = philox4x32(2, static_cast<uint64_t>(i), 0);
    m.scales.push_back(static_cast<float>(128 + bits[0] % 128) / 65536.0f);
    if (!symmetric) m.zeros.push_back(static_cast<uint8_t>(bits[1] % most));
  }
  return m;
}

std::vector<float> values_of(const CodedMatrix& m) {
  const int64_t size = m.spec.group > 0 ? m.spec.group : m.inputs, groups = (m.inputs + size - 1) / size;
  std::vector<float> values(m.codes.size());
  for (int64_t o = 0; o < m.outputs; ++o) {
    for (int64_t j = 0; j < m.inputs; ++j) {
      const int64_t i = m.order.empty() ? j : m.order[static_cast<size_t>(j)];
      const auto g = static_cast<size_t>(o * groups + j / size), at = static_cast<size_t>(o * m.inputs + i);
      const int zero = !m.zeros.empty() ? m.zeros[g] : m.spec.format == PackedFormat::int4 ? 8 : 128;
      values[at] = m.scales[g] * static_cast<float>(m.codes[at] - zero);
    }
  }
  return values;
}

std::vector<float> as_blocks(BlockType type, const CodedMatrix& m) {
  std::vector<std::byte> blocks(m.codes.size() / 32 * static_cast<size_t>(layout_of(type).bytes));
  encode_coded(type, m, blocks);
  std::vector<float> values(m.codes.size());
  decode_blocks(type, blocks, values);
  return values;
}

TEST(CodedBlocks, HaveTheValuesOfTheCodes) {
  for (const int64_t group : {32, 64, 128, 0}) {
    const CodedMatrix four = drawn(PackedFormat::int4, group, true, 3, 160);
    EXPECT_EQ(as_blocks(BlockType::q4_0, four), values_of(four)) << group;
    EXPECT_EQ(as_blocks(BlockType::q8_0, four), values_of(four)) << group;
    const CodedMatrix eight = drawn(PackedFormat::int8, group, true, 3, 160);
    EXPECT_EQ(as_blocks(BlockType::q8_0, eight), values_of(eight)) << group;
    const CodedMatrix shifted = drawn(PackedFormat::int4, group, false, 3, 160);
    EXPECT_EQ(as_blocks(BlockType::q8_0, shifted), values_of(shifted)) << group;
    // The product of scale and zero is rounded to fp16.
    const std::vector<float> expected = values_of(shifted), got = as_blocks(BlockType::q4_1, shifted);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], expected[i], 15.0f * 256.0f / 65536.0f / 2048.0f);
  }
}

TEST(CodedBlocks, TakeGroupsThatLieAsBlocks) {
  CodedMatrix m = drawn(PackedFormat::int4, 32, true, 2, 96);
  for (int i = 0; i < 96; ++i) m.order.push_back((i + 32) % 96);
  EXPECT_EQ(as_blocks(BlockType::q4_0, m), values_of(m));
  std::swap(m.order[31], m.order[32]);
  EXPECT_FALSE(can_encode_coded(BlockType::q4_0, m));
  EXPECT_FALSE(can_encode_coded(BlockType::q8_0, m));
}

TEST(CodedBlocks, AreNotOfWhatTheyCannotHold) {
  const CodedMatrix four = drawn(PackedFormat::int4, 32, true, 2, 64);
  EXPECT_FALSE(can_encode_coded(BlockType::q4_k, four));
  EXPECT_FALSE(can_encode_coded(BlockType::q6_k, four));
  EXPECT_FALSE(can_encode_coded(BlockType::q4_0, drawn(PackedFormat::int4, 32, false, 2, 64)));
  EXPECT_FALSE(can_encode_coded(BlockType::q4_0, drawn(PackedFormat::int8, 32, true, 2, 64)));
  EXPECT_FALSE(can_encode_coded(BlockType::q8_0, drawn(PackedFormat::int8, 32, false, 2, 64)));
  EXPECT_FALSE(can_encode_coded(BlockType::q4_0, drawn(PackedFormat::int4, 32, true, 2, 80)));
  CodedMatrix large = four;
  large.scales[3] = 65536.0f;
  EXPECT_FALSE(can_encode_coded(BlockType::q4_0, large));
  std::vector<std::byte> blocks(4 * 18);
  EXPECT_THROW(encode_coded(BlockType::q4_0, large, blocks), InternalError);
  EXPECT_THROW(encode_coded(BlockType::q4_0, four, std::span(blocks).first(18)), InternalError);
  // Zeros that say what symmetric codes have anyway.
  CodedMatrix same = four;
  same.zeros.assign(same.scales.size(), 8);
  EXPECT_EQ(as_blocks(BlockType::q4_0, same), values_of(four));
}

}  // namespace
}  // namespace trireme::ops
