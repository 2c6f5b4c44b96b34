// Codes with scales as ggml's blocks.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/ops/packed/coded_matrix.h"
#include "runtime/ops/weight_blocks.h"

namespace trireme::ops {

/// Whether encode_coded() can: int8 or int4 whose groups are whole blocks of 32 inputs, as they lie, with
/// scales that fp16 reaches; as q8_0 where codes less their zeros are within [-128, 127] (symmetric int8, all
/// int4), as q4_0 symmetric int4, as q4_1 any int4.
bool can_encode_coded(BlockType type, const CodedMatrix& matrix);

/// Rows of blocks with the same codes and the scales in fp16, whose values are decode_row()'s where fp16 has
/// the scales (and of q4_1 scale * zero), else as near as fp16 is. CHECKs sizes and can_encode_coded().
void encode_coded(BlockType type, const CodedMatrix& matrix, std::span<std::byte> blocks);

}  // namespace trireme::ops
