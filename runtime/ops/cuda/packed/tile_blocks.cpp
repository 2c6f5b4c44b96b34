// ggml's blocks (ops/weight_blocks.h) taken apart: their integers and scales are kept as they are.
#include <cstring>

#include "runtime/ops/cuda/packed/tile_writer.h"

namespace trireme::ops::cuda {

namespace {

struct BlockPart {
  const std::byte* at;
  unsigned byte(int64_t i) const { return std::to_integer<unsigned>(at[i]); }
  uint16_t half(int64_t i) const {
    uint16_t bits;
    std::memcpy(&bits, at + i, sizeof(bits));
    return bits;
  }
};

/// Sixteen bytes with elements 0..15 in their low halves and 16..31 in their high ones.
void write_nibbles(const TileWriter& to, int output, int64_t input, BlockPart b) {
  for (int i = 0; i < 16; ++i) {
    to.code(output, input + i, b.byte(i) & 0xfu);
    to.code(output, input + 16 + i, b.byte(i) >> 4);
  }
}

void write_q8_0(const PackedLayout& l, BlockPart b, int output, int64_t input, const TileWriter& to) {
  to.scale(l.fine, input / kUnitInputs, output, 2, static_cast<int>(input % kUnitInputs / 32), b.half(0));
  for (int i = 0; i < 32; ++i) to.code(output, input + i, (b.byte(2 + i) + 128) & 0xffu);
}

void write_q4_0(const PackedLayout& l, BlockPart b, int output, int64_t input, const TileWriter& to) {
  to.scale(l.fine, input / kUnitInputs, output, 2, static_cast<int>(input % kUnitInputs / 32), b.half(0));
  write_nibbles(to, output, input, {b.at + 2});
}

void write_q4_1(const PackedLayout& l, BlockPart b, int output, int64_t input, const TileWriter& to) {
  const auto of_32 = static_cast<int>(input % kUnitInputs / 32);
  to.scale(l.fine, input / kUnitInputs, output, 4, of_32, b.half(0));
  to.scale(l.fine, input / kUnitInputs, output, 4, 2 + of_32, b.half(2));
  write_nibbles(to, output, input, {b.at + 4});
}

/// Scale and minimum of the eight groups of a block, six bits each: ggml's get_scale_min_k4.
struct GroupOfQ4K {
  unsigned scale, min;
};
GroupOfQ4K group_of_q4_k(BlockPart scales, int j) {
  if (j < 4) return {scales.byte(j) & 63u, scales.byte(j + 4) & 63u};
  return {(scales.byte(j + 4) & 0xfu) | scales.byte(j - 4) >> 6 << 4,
          scales.byte(j + 4) >> 4 | scales.byte(j) >> 6 << 4};
}

void write_q4_k(const PackedLayout& l, BlockPart b, int output, int64_t input, const TileWriter& to) {
  const int64_t block = input / 256;
  to.scale(l.coarse, block, output, 2, 0, b.half(0));
  to.scale(l.coarse, block, output, 2, 1, b.half(2));
  for (int j = 0; j < 8; ++j) {
    const GroupOfQ4K group = group_of_q4_k({b.at + 4}, j);
    const int64_t unit = input / kUnitInputs + j / 2;
    to.scale(l.fine, unit, output, 4, j % 2, static_cast<uint8_t>(group.scale));
    to.scale(l.fine, unit, output, 4, 2 + j % 2, static_cast<uint8_t>(group.min));
    for (int i = 0; i < 32; ++i) {
      to.code(output, input + 32 * j + i, b.byte(16 + j / 2 * 32 + i) >> j % 2 * 4 & 0xfu);
    }
  }
}

void write_q6_k(const PackedLayout& l, BlockPart b, int output, int64_t input, const TileWriter& to) {
  const BlockPart low{b.at}, high{b.at + 128}, scales{b.at + 192};
  to.scale(l.coarse, input / 256, output, 1, 0, b.half(208));
  for (int j = 0; j < 16; ++j) {
    to.scale(l.fine, input / kUnitInputs + j / 4, output, 4, j % 4, static_cast<uint8_t>(scales.byte(j)));
  }
  for (int i = 0; i < 256; ++i) {
    const int of_128 = i / 128, quarter = i % 128 / 32, within = i % 32;
    const unsigned four = low.byte(64 * of_128 + quarter % 2 * 32 + within) >> quarter / 2 * 4 & 0xfu;
    const unsigned two = high.byte(32 * of_128 + within) >> 2 * quarter & 3u;
    to.code(output, input + i, four | two << 4);
  }
}

}  // namespace

void write_blocks(const PackedLayout& layout, PackedFormat format, const std::byte* stored, int output,
                  const TileWriter& to) {
  const auto each = [&](int64_t elements, int64_t bytes, const auto& write) {
    TRIREME_CHECK(layout.inputs % elements == 0, "rows of {} numbers in blocks of {}", layout.inputs,
                  elements);
    for (int64_t input = 0; input < layout.inputs; input += elements) {
      write(layout, BlockPart{stored + input / elements * bytes}, output, input, to);
    }
  };
  switch (format) {
    case PackedFormat::q8_0:
      return each(32, 34, write_q8_0);
    case PackedFormat::q4_0:
      return each(32, 18, write_q4_0);
    case PackedFormat::q4_1:
      return each(32, 20, write_q4_1);
    case PackedFormat::q4_k:
      return each(256, 144, write_q4_k);
    case PackedFormat::q6_k:
      return each(256, 210, write_q6_k);
    default:
      TRIREME_CHECK(false, "format {} has no blocks", static_cast<int>(format));
  }
}

}  // namespace trireme::ops::cuda
