// Blocks of stored tensors as fp32.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

/// Rows [row, row + rows) and of each columns [column, column + columns), row-major, of a tensor whose
/// innermost dim is the columns and all others together the rows (a vector is one row). Nothing but the block
/// is touched. CHECKs that it lies in the tensor, and the type: f32, bf16 or f16.
struct FloatBlock {
  int64_t row, rows, column, columns;
};
void read_floats(const StoredTensor& stored, const FloatBlock& block, std::span<float> values);

}  // namespace trireme
