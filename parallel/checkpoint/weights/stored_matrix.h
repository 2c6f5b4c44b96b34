// Matrices as files store them: for those who take rows without converting them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "parallel/module/parameter.h"
#include "runtime/ops/packed/packed_weight.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// A part of a stored matrix.
struct StoredMatrix {
  ops::PackedFormat format;  ///< one of floats or of ggml's blocks
  /// Where rows of the part begin, at its first column. Null where they are not there one by one in whole
  /// blocks: the part's columns cut blocks, or the file has the matrix in pieces or transposed.
  ops::StoredRow row = nullptr;
  bool transposed = false;  ///< a row is spread over the whole matrix: read many at once
};

/// Elements and bytes of the least that a format stores: of floats one number. Not of int8 and int4 (CHECK).
struct StoredBlock {
  int64_t elements, bytes;
};
StoredBlock stored_block(ops::PackedFormat format);

/// Of numbers of a type; nothing for types that are not computed with.
std::optional<ops::PackedFormat> format_of(DType dtype);

/// Bytes of a row before these columns; nothing where the columns are no whole blocks.
std::optional<int64_t> bytes_before(ops::PackedFormat format, const Part& columns);

/// The numbers of a stored row, or of whole blocks of it, as f32: those of decode_gguf and read_floats, bit
/// for bit.
void decode_row(ops::PackedFormat format, const std::byte* row, std::span<float> values);

}  // namespace trireme
