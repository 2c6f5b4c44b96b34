// CodedMatrix: a matrix as quantization makes it, integers or 8-bit floats with scales, on the host and in no
// kernel's layout. What quantizers give, files store and pack_coded() takes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops {

/// [outputs, inputs]: value(o, i) = scales[o, g] * (codes[o, i] - zeros[o, g]) in fp32 of int8 and int4, with
/// g the group of input i; of fp8 scales[o] * E4M3(codes[o, i]).
struct CodedMatrix {
  PackedSpec spec;  ///< int8, int4 or fp8
  int64_t outputs = 0, inputs = 0;
  std::vector<uint8_t> codes;  ///< [outputs, inputs]: below 256, below 16 of int4, or bits of E4M3
  std::vector<float> scales;   ///< [outputs, groups], numbers of bf16 (of other programs' files of fp16 too)
  std::vector<uint8_t> zeros;  ///< [outputs, groups], of int4 to 16; empty: 128 or 8 (symmetric)
  /// Empty: groups are of neighbouring inputs. Else a permutation: the inputs in the order in which they form
  /// groups, input order[j] being of group j / spec.group (activation order; GPTQ's g_idx).
  std::vector<int32_t> order;

  int64_t groups() const;
  /// The group of each input.
  std::vector<int32_t> group_of_inputs() const;
};

/// Values of a row, fp32.
void decode_row(const CodedMatrix& matrix, int64_t row, std::span<float> values);
/// Rows [row, row + rows) and columns [column, column + columns), in groups of their own; columns begin at a
/// group, and end at one or with the matrix (CHECK; is_whole_groups() says); of matrices with `order` all of
/// them.
CodedMatrix part_of(const CodedMatrix& matrix, int64_t row, int64_t rows, int64_t column, int64_t columns);
bool is_whole_groups(const CodedMatrix& matrix, int64_t column, int64_t columns);

/// Packs `matrices`, parts one below the other of num_matrices matrices with as many outputs each, so that
/// every kernel computes with exactly these values; unpack_row() gives decode_row()'s bits. All are of one
/// spec and inputs, those of one matrix of one order (CHECK). UserError (bad_input) for a scale or a code of
/// fp8 that is not finite.
PackedWeight pack_coded(Context& ctx, std::span<const CodedMatrix> matrices, int64_t num_matrices = 1);

/// Rounds to the nearest of each group's numbers: quantize_row() of every row (or E4M3 with scales that are
/// powers of two), on the context's threads. `values` [outputs, inputs]. UserError (bad_input) for a value
/// that is not finite.
CodedMatrix round_to_nearest(Context& ctx, const PackedSpec& spec, int64_t outputs, int64_t inputs,
                             std::span<const float> values);

}  // namespace trireme::ops
