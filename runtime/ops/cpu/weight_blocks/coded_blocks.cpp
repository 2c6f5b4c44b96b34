#include "runtime/ops/packed/coded_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/ops/cpu/weight_blocks/lanes.h"

namespace trireme::ops {

namespace {

constexpr int64_t kInputs = 32;  // of a block

int64_t group_size(const CodedMatrix& m) {
  return m.spec.group > 0 ? m.spec.group : std::max<int64_t>(m.inputs, 1);
}
int64_t num_groups(const CodedMatrix& m) { return (m.inputs + group_size(m) - 1) / group_size(m); }

/// The group of each block's inputs; empty where inputs of one block are of several.
std::vector<int64_t> groups_of_blocks(const CodedMatrix& m) {
  std::vector<int64_t> groups(static_cast<size_t>(m.inputs));
  for (int64_t j = 0; j < m.inputs; ++j) {
    const int64_t input = m.order.empty() ? j : m.order[static_cast<size_t>(j)];
    groups[static_cast<size_t>(input)] = j / group_size(m);
  }
  std::vector<int64_t> of_blocks;
  for (int64_t i = 0; i < m.inputs; i += kInputs) {
    const auto first = groups.begin() + i;
    if (std::any_of(first, first + kInputs, [&](int64_t group) { return group != *first; })) return {};
    of_blocks.push_back(*first);
  }
  return of_blocks;
}

int zero_of(const CodedMatrix& m, int64_t group) {
  if (m.zeros.empty()) return m.spec.format == PackedFormat::int4 ? 8 : 128;
  return m.zeros[static_cast<size_t>(group)];
}

bool is_within_fp16(const CodedMatrix& m, BlockType type) {
  const int64_t groups = num_groups(m);
  for (int64_t i = 0; i < std::ssize(m.scales); ++i) {
    const float scale = m.scales[static_cast<size_t>(i)];
    const float least = type == BlockType::q4_1 ? scale * static_cast<float>(zero_of(m, i)) : scale;
    if (!(std::fabs(scale) <= 65504.0f) || !(std::fabs(least) <= 65504.0f)) return false;
  }
  return std::ssize(m.scales) == m.outputs * groups;
}

void put_nibbles(const uint8_t* codes, uint8_t* out) {
  for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(codes[i] | codes[16 + i] << 4);
}

void put_block(BlockType type, const uint8_t* codes, float scale, int zero, uint8_t* out) {
  cpu::store_half(fp16(scale), out);
  if (type == BlockType::q8_0) {
    for (int i = 0; i < kInputs; ++i) out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(codes[i] - zero));
  } else if (type == BlockType::q4_0) {
    put_nibbles(codes, out + 2);
  } else {
    cpu::store_half(fp16(-scale * static_cast<float>(zero)), out + 2);
    put_nibbles(codes, out + 4);
  }
}

}  // namespace

bool can_encode_coded(BlockType type, const CodedMatrix& m) {
  const bool is_int4 = m.spec.format == PackedFormat::int4;
  if (!is_int4 && m.spec.format != PackedFormat::int8) return false;
  if (type != BlockType::q8_0 && (!is_int4 || (type != BlockType::q4_0 && type != BlockType::q4_1)))
    return false;
  const auto is_middle = [&](uint8_t zero) { return zero == (is_int4 ? 8 : 128); };
  const bool is_symmetric = std::all_of(m.zeros.begin(), m.zeros.end(), is_middle);
  if (!is_symmetric && (type == BlockType::q4_0 || !is_int4)) return false;
  if (m.inputs % kInputs != 0 || !is_within_fp16(m, type)) return false;
  return m.inputs == 0 || !groups_of_blocks(m).empty();
}

void encode_coded(BlockType type, const CodedMatrix& m, std::span<std::byte> blocks) {
  TRIREME_CHECK(can_encode_coded(type, m), "{} as blocks", to_string(m.spec));
  const std::vector<int64_t> of_blocks = groups_of_blocks(m);
  const int64_t groups = num_groups(m), per_row = std::ssize(of_blocks), bytes = layout_of(type).bytes;
  TRIREME_CHECK(
      std::ssize(blocks) == m.outputs * per_row * bytes && std::ssize(m.codes) == m.outputs * m.inputs,
      "{} bytes for {} rows of {} blocks", blocks.size(), m.outputs, per_row);
  for (int64_t row = 0; row < m.outputs; ++row) {
    for (int64_t b = 0; b < per_row; ++b) {
      const int64_t group = row * groups + of_blocks[static_cast<size_t>(b)];
      put_block(type, m.codes.data() + row * m.inputs + b * kInputs, m.scales[static_cast<size_t>(group)],
                zero_of(m, group), reinterpret_cast<uint8_t*>(blocks.data()) + (row * per_row + b) * bytes);
    }
  }
}

}  // namespace trireme::ops
