// Where the numbers of packed weights lie on a CUDA device. Sixteen outputs are a tile, 64 inputs a unit. Of
// a unit every lane of a warp has 32 numbers, of which eight belong to each step of 16 inputs: those that it
// holds of the left factor of a product (TileA in mma.cuh), so that what it loads in vectors of 16 bytes is
// what it multiplies. The idea is that of Marlin (Frantar et al., arXiv 2408.11743). Within a step lane 4 g +
// t has inputs 4t ... 4t + 3 of outputs g and g + 8: four neighbours, for which x is read in one vector too.
// Behind a tile's units lie its scales. Outputs and inputs that fill up tiles and units are zeros.
#pragma once

#include <cstdint>

#include "runtime/base/half.h"
#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops::cuda {

inline constexpr int kTileOutputs = 16, kUnitInputs = 64, kStepInputs = 16, kLaneVector = 16;
inline constexpr int kUnitVectors = 32 * kLaneVector;  // bytes: one vector of each lane

/// How scales are stored: for each group of lanes g those of outputs g and g + 8 are neighbours.
enum class ScaleKind : uint8_t {
  none,
  halves,       ///< fp16 for each 32 inputs: [unit][g][2 groups][2]
  minima,       ///< the same, and fp16 minima: [unit][g][scale, min][2 groups][2]
  q4_k,         ///< [unit][g][scale, min][2 groups][2] of 8 bits; coarse: fp16 [unit / 4][g][scale, min][2]
  q6_k,         ///< [unit][g][4 groups][2] of 8 bits, signed; coarse: fp16 [unit / 4][g][2]
  groups,       ///< bf16 [group][g][2]; coarse, where asymmetric: zeros of 8 bits [group][g][2]
  wide_groups,  ///< the same with scales of f32
};

/// Where one number lies in its tile's memory: `bits` of them from bit `shift` of the byte on. Of six bits
/// four lie there, two at high and high_shift.
struct CodePlace {
  int64_t byte = 0, high = 0;
  int shift = 0, high_shift = 0;
};

struct PackedLayout {
  int64_t matrices = 0, outputs = 0, inputs = 0;
  int64_t tiles = 0;       // of a matrix
  int64_t units = 0;       // of a row
  int64_t unit_bytes = 0;  // of a tile
  int64_t fine = 0, coarse = 0, tile_bytes = 0;
  int bits = 0;
  int zero = 0;         // code of 0 where zeros are not stored
  int group_shift = 0;  // of int8 and int4: inputs of a group as a power of two; a row: more than any
  ScaleKind kind = ScaleKind::none;
  bool has_zeros = false;
  bool has_minima = false;
  bool is_bf16 = false;
  bool is_fp8 = false;  // codes are those of E4M3

  PackedLayout() = default;
  /// scales: PackedWeight::scales.
  PackedLayout(const PackedSpec& spec, int64_t num_matrices, int64_t num_outputs, int64_t num_inputs,
               DType scales = DType::bf16);
  explicit PackedLayout(const PackedWeight& w)
      : PackedLayout(w.spec, w.matrices, w.outputs, w.inputs, w.scales) {}

  int64_t bytes() const { return matrices * tiles * tile_bytes; }
  constexpr int64_t num_groups() const { return group_of(units * kUnitInputs - 1) + 1; }
  constexpr int64_t group_of(int64_t input) const { return input >> group_shift; }

  constexpr CodePlace code(int output, int64_t input) const {
    const auto in_unit = static_cast<int>(input % kUnitInputs);
    const int step = in_unit / kStepInputs, lane = output % 8 * 4 + in_unit % kStepInputs / 4;
    const int pair = in_unit % 4 / 2 * 2 + output / 8, half = in_unit % 2;
    const int64_t unit = input / kUnitInputs * unit_bytes, vector = unit + lane * kLaneVector;
    const auto in_vectors = [&](int of_lane) {  // byte `of_lane` of those that a lane has
      return vector + of_lane / kLaneVector * kUnitVectors + of_lane % kLaneVector;
    };
    switch (bits) {
      case 4:
      case 6: {
        CodePlace place{vector + 4 * step + 2 * half + pair / 2, 0, pair % 2 * 4, 0};
        place.high = unit + kUnitVectors + lane * 8 + step / 2 * 4 + 2 * half + step % 2;
        place.high_shift = 2 * pair;
        return place;
      }
      default: {
        const int size = bits / 8;
        return {in_vectors((8 * step + 2 * pair + half) * size), 0, 0, 0};
      }
    }
  }
  /// Byte of entry `entry` of `entries` of an output's lanes g in row `row` of a table of `size` bytes each.
  constexpr int64_t scale_byte(int64_t row, int output, int entries, int entry, int size) const {
    return ((row * 8 + output % 8) * entries * 2 + entry * 2 + output / 8) * size;
  }

  struct Scales {
    float scale = 1, min = 0;
    int zero = 0;
  };
  /// Those of a number. `tile` reads the tile's memory: tile.u8(byte), u16, f32.
  template <class Tile>
  constexpr Scales scales(const Tile& tile, int output, int64_t input) const;
  /// The number itself.
  template <class Tile>
  constexpr float value(const Tile& tile, int output, int64_t input) const;
};

constexpr float widened_half(uint16_t bits) {
  fp16 half{0.0f};
  half.bits = bits;
  return static_cast<float>(half);
}

constexpr float widened_bf16(uint16_t bits) {
  bf16 number{0.0f};
  number.bits = bits;
  return static_cast<float>(number);
}

/// Of a code that is no NaN. The bits of fp16 are a sign, a bit of the exponent that is zero, and the code's,
/// for a number 2^8 times smaller.
constexpr float widened_fp8(unsigned code) {
  return 256.0f * widened_half(static_cast<uint16_t>((code & 0x80u) << 8 | (code & 0x7fu) << 7));
}

template <class Tile>
constexpr PackedLayout::Scales PackedLayout::scales(const Tile& tile, int output, int64_t input) const {
  const int64_t unit = input / kUnitInputs, coarse_row = unit / 4;
  const auto of_32 = static_cast<int>(input % kUnitInputs / 32);
  const auto half_at = [&](int64_t from, int64_t row, int entries, int entry) {
    return widened_half(tile.u16(from + scale_byte(row, output, entries, entry, 2)));
  };
  const auto byte_at = [&](int entries, int entry) {
    return tile.u8(fine + scale_byte(unit, output, entries, entry, 1));
  };
  switch (kind) {
    case ScaleKind::none:
      return {};
    case ScaleKind::halves:
      return {half_at(fine, unit, 2, of_32), 0, zero};
    case ScaleKind::minima:
      return {half_at(fine, unit, 4, of_32), half_at(fine, unit, 4, 2 + of_32), zero};
    case ScaleKind::q4_k:
      return {half_at(coarse, coarse_row, 2, 0) * static_cast<float>(byte_at(4, of_32)),
              -(half_at(coarse, coarse_row, 2, 1) * static_cast<float>(byte_at(4, 2 + of_32))), zero};
    case ScaleKind::q6_k: {
      const auto of_16 = static_cast<int>(input % kUnitInputs / 16);
      return {half_at(coarse, coarse_row, 1, 0) *
                  static_cast<float>(static_cast<int8_t>(static_cast<uint8_t>(byte_at(4, of_16)))),
              0, zero};
    }
    case ScaleKind::groups:
    case ScaleKind::wide_groups: {
      const int64_t group = group_of(input);
      return {kind == ScaleKind::groups ? widened_bf16(tile.u16(fine + scale_byte(group, output, 1, 0, 2)))
                                        : tile.f32(fine + scale_byte(group, output, 1, 0, 4)),
              0, has_zeros ? tile.u8(coarse + scale_byte(group, output, 1, 0, 1)) : zero};
    }
  }
  return {};
}

template <class Tile>
constexpr float PackedLayout::value(const Tile& tile, int output, int64_t input) const {
  const CodePlace at = code(output, input);
  if (bits == 32) return tile.f32(at.byte);
  if (bits == 16) return is_bf16 ? widened_bf16(tile.u16(at.byte)) : widened_half(tile.u16(at.byte));
  if (is_fp8) return scales(tile, output, input).scale * widened_fp8(static_cast<unsigned>(tile.u8(at.byte)));
  int number = tile.u8(at.byte) >> at.shift & (bits == 8 ? 0xff : 0xf);
  if (bits == 6) number |= (tile.u8(at.high) >> at.high_shift & 3) << 4;
  const Scales s = scales(tile, output, input);
  const float product = s.scale * static_cast<float>(number - s.zero);
  // Products with minima are exact: this is the only rounding, fused or not.
  return has_minima ? product + s.min : product;
}

}  // namespace trireme::ops::cuda
