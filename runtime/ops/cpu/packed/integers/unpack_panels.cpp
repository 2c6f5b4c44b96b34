// One output's values out of its panel. Compiled without contraction of products and sums
// (cmake/targets.cmake): of ggml's formats the values have the bits of decode_blocks.
#include <cstring>
#include <vector>

#include "runtime/base/float8.h"
#include "runtime/base/half.h"
#include "runtime/ops/cpu/packed/integers/panels.h"

namespace trireme::ops::cpu {

namespace {

struct LaneOf {
  const PanelLayout& layout;
  const uint8_t* panel;
  int64_t lane;

  uint16_t scale_bits(int64_t group, int64_t per_group, int64_t place) const {
    uint16_t bits;
    std::memcpy(&bits, panel + layout.scale_at(group, per_group, place) + 2 * lane, sizeof bits);
    return bits;
  }
  float half(int64_t group, int64_t per_group = 1, int64_t place = 0) const {
    fp16 value;
    value.bits = scale_bits(group, per_group, place);
    return value;
  }
  float own_scale(int64_t group) const {
    if (layout.scale_bytes == 4) {
      float scale;
      std::memcpy(&scale, panel + layout.scale_at(group, 1, 0) + 4 * lane, sizeof scale);
      return scale;
    }
    bf16 value;
    value.bits = scale_bits(group, 1, 0);
    return value;
  }
  int factors(int64_t group, int byte) const {
    return panel[layout.minor_at(group, 192) + byte / 4 * 64 + 4 * lane + byte % 4];
  }
  int minor(int64_t group, int64_t bytes, int64_t place) const {
    return panel[layout.minor_at(group, bytes) + place * kPanel + lane];
  }

  int code(int64_t block, int input) const {
    const uint8_t* at = panel + layout.code_at(block) + 4 * lane + input % 4;
    const int line = input / 4;
    if (layout.block_bytes == 8 * 64) return at[64 * line];
    const int low = (at[64 * (line % 4)] >> (line / 4 * 4)) & 15;
    if (layout.block_bytes == 4 * 64) return low;
    return low | ((at[64 * (4 + line / 4)] >> (line % 4 * 2)) & 3) << 4;
  }
};

/// What makes values of codes: scale * (code - zero) + least.
struct Factors {
  float scale;
  int zero;
  float least;
};

Factors factors_q4_k(const LaneOf& from, int64_t block) {
  const int64_t group = block / 8;
  const int i = static_cast<int>(block % 8);
  int scale = 0, least = 0;
  if (i < 4) {
    scale = from.factors(group, i) & 63;
    least = from.factors(group, i + 4) & 63;
  } else {
    const int shared = from.factors(group, i + 4);
    scale = (shared & 15) | (from.factors(group, i - 4) >> 6) << 4;
    least = (shared >> 4) | (from.factors(group, i) >> 6) << 4;
  }
  return {from.half(group, 2, 0) * static_cast<float>(scale), 0,
          -(from.half(group, 2, 1) * static_cast<float>(least))};
}

/// For the first or second half of a block.
Factors factors_of(const LaneOf& from, int64_t block, int half) {
  const int64_t group = from.layout.group_of(block);
  switch (from.layout.kind) {
    case PanelKind::q8_0:
      return {from.half(group), 128, 0};
    case PanelKind::q4_0:
      return {from.half(group), 8, 0};
    case PanelKind::q4_1:
      return {from.half(group, 2, 0), 0, from.half(group, 2, 1)};
    case PanelKind::q4_k:
      return factors_q4_k(from, block);
    case PanelKind::q6_k: {
      const auto factor = static_cast<int8_t>(from.minor(group, 256, block % 8 * 2 + half));
      return {from.half(group) * static_cast<float>(factor), 32, 0};
    }
    case PanelKind::int8:
      return {from.own_scale(group), 128, 0};
    case PanelKind::int4:
      return {from.own_scale(group), 8, 0};
    case PanelKind::int8_zeros:
    case PanelKind::int4_zeros:
      return {from.own_scale(group), from.minor(group, kPanel, 0), 0};
    case PanelKind::fp8:
      break;
  }
  return {};
}

void unpack_fp8(const LaneOf& from, std::span<float> values) {
  const float scale = from.own_scale(0);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto input = static_cast<int64_t>(i), within = input % kBlock;
    fp8_e4m3 number;
    number.bits =
        from.panel[from.layout.code_at(input / kBlock) + within / 4 * 64 + fp8_byte(from.lane, within % 4)];
    values[i] = scale * static_cast<float>(number);
  }
}

}  // namespace

void unpack_integers(const PackedWeight& w, int64_t row, std::span<float> values) {
  const PanelLayout layout = panel_layout(w);
  const int64_t output = row % w.outputs;
  const int64_t index = row / w.outputs * panels_of(w.outputs) + output / kPanel;
  std::vector<std::byte> dense(w.spec.sparse ? static_cast<size_t>(layout.bytes) : 0);
  if (w.spec.sparse) SparsePanel(w.data, panel_shape(layout), index).expand(dense.data());
  const auto* panel = w.spec.sparse ? reinterpret_cast<const uint8_t*>(dense.data())
                                    : w.data.data<uint8_t>() + index * layout.bytes;
  const LaneOf from{layout, panel, output % kPanel};
  if (layout.kind == PanelKind::fp8) return unpack_fp8(from, values);
  const bool has_least = layout.kind == PanelKind::q4_1 || layout.kind == PanelKind::q4_k;
  for (int64_t begin = 0; begin < w.inputs; begin += kBlock / 2) {
    const int64_t block = begin / kBlock, end = std::min(w.inputs, begin + kBlock / 2);
    const Factors f = factors_of(from, block, static_cast<int>(begin % kBlock / (kBlock / 2)));
    for (int64_t i = begin; i < end; ++i) {
      const float product =
          static_cast<float>(from.code(block, static_cast<int>(i % kBlock)) - f.zero) * f.scale;
      // Adding a zero would lose a negative zero's sign.
      values[static_cast<size_t>(i)] = has_least ? product + f.least : product;
    }
  }
}

}  // namespace trireme::ops::cpu
