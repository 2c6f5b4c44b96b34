// Packed integer weights on the CPU: panels of 16 outputs, so that one input, broadcast, meets the weights of
// 16 outputs side by side.
//
// Inputs come in blocks of 32, the last one padded, and blocks in chunks of eight, the last one perhaps
// shorter. A chunk begins with its scales, then its minor factors (zeros, factors of sub-blocks), then its
// codes: one stream that is read once from the beginning to the end. Parts and chunks begin at multiples of
// 64 bytes. Where all inputs share a scale, scales and zeros come before the first chunk instead.
//
// Codes come in lines of 64 bytes with 4 bytes an output; byte j of line g of a block holds
//   8 bits: input 4 g + j of the block                                           (8 lines)
//   4 bits: input 4 g + j in its low half and 16 + 4 g + j in its high half      (4 lines)
//   6 bits: their low 4 bits as above, then two lines h = 0, 1 with the upper two bits of inputs
//           16 h + 4 t + j at bits 2 t                                           (6 lines)
// All are unsigned: a value is scale * (code - zero), or scale * code + minimum. Of fp8 bytes lie
// otherwise in a line (fp8_byte()): two inputs of an output in 16 bits.
#pragma once

#include <cstdint>

#include "runtime/ops/cpu/packed/sparse/sparse_panels.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops::cpu {

inline constexpr int64_t kPanel = 16;  ///< outputs
inline constexpr int64_t kBlock = 32;  ///< inputs

/// What differs in kernels.
enum class PanelKind : uint8_t { q8_0, q4_0, q4_1, q4_k, q6_k, int8, int8_zeros, int4, int4_zeros, fp8 };
inline constexpr int kNumPanelKinds = 10;

struct PanelLayout {
  PanelKind kind;
  int64_t blocks;        ///< of inputs
  int64_t group_blocks;  ///< blocks that share a scale: 1, 2, 4 or 8, or 0: all
  int64_t block_bytes;   ///< of codes
  int64_t scale_bytes;   ///< of a scale: 2, or 4
  int64_t minor, codes;  ///< where these parts of a chunk begin
  int64_t chunk_bytes;   ///< of a whole one
  int64_t head;          ///< bytes before the first chunk
  int64_t bytes;         ///< of a panel

  int64_t chunks() const { return (blocks + kChunk - 1) / kChunk; }
  /// Of a chunk.
  int64_t blocks_of(int64_t chunk) const { return chunk + 1 < chunks() ? kChunk : blocks - chunk * kChunk; }
  /// Where scale `place` of group `group`, counted from the panel's beginning, stands; minor factors too, of
  /// `per_group` bytes a group.
  int64_t scale_at(int64_t group, int64_t per_group, int64_t place) const {
    return chunk_of(group) + (within(group) * per_group + place) * kPanel * scale_bytes;
  }
  int64_t minor_at(int64_t group, int64_t per_group) const {
    return (group_blocks == 0 ? kZerosOfHead : chunk_of(group) + minor) + within(group) * per_group;
  }
  int64_t code_at(int64_t block) const {
    return head + block / kChunk * chunk_bytes + codes + block % kChunk * block_bytes;
  }
  int64_t group_of(int64_t block) const { return group_blocks == 0 ? 0 : block / group_blocks; }

  static constexpr int64_t kChunk = 8;         ///< blocks
  static constexpr int64_t kZerosOfHead = 64;  ///< where they begin

 private:
  int64_t chunk_of(int64_t group) const {
    return group_blocks == 0 ? 0 : head + group * group_blocks / kChunk * chunk_bytes;
  }
  int64_t within(int64_t group) const { return group_blocks == 0 ? 0 : group % (kChunk / group_blocks); }
};

/// inputs > 0. Scales, 16 of a group side by side, are fp16 (ggml's formats: q4_1 and q4_k have as many
/// minima behind them), or bf16 or f32 as `scales` says (int8, int4; PackedWeight::scales). Minor factors of
/// a group: q4_k: the three words of six-bit factors of ggml's block, 16 of each side by side; q6_k: 16 times
/// 16 int8; int8 and int4 with zeros: 16 u8.
PanelLayout panel_layout(const PackedSpec& spec, int64_t inputs, DType scales);
inline PanelLayout panel_layout(const PackedWeight& w) { return panel_layout(w.spec, w.inputs, w.scales); }

/// Where in a line of fp8 the code of input j (of four) of output `lane` lies.
constexpr int64_t fp8_byte(int64_t lane, int64_t j) { return j / 2 * 32 + 2 * lane + j % 2; }

/// Of sparse panels: int8's, whose zero is the code 128.
PanelShape panel_shape(const PanelLayout& layout);

inline int64_t panels_of(int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }

/// Bytes of a dense weight of an integer format, but for which w.data is not there.
int64_t integers_bytes(const PackedWeight& w);
/// Fill w.data, the first with codes as they are; its scales are numbers of the type w.scales.
void pack_integers(Context& ctx, const PackedWeight& w, const ReadCodes& row);
/// Data without zeros, or none where these are too few (sparse_panels.h). w.data is not needed.
Tensor pack_sparse_integers(Context& ctx, const PackedWeight& w, const ReadCodes& row,
                            double least_zeros = kLeastSparseZeros);
void pack_stored_integers(Context& ctx, const PackedWeight& w, const StoredRow& row);
/// Row `row` of the matrices one below the other, by places.
void unpack_integers(const PackedWeight& w, int64_t row, std::span<float> values);

}  // namespace trireme::ops::cpu
