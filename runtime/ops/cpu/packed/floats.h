// Packed weights of f32, bf16 and f16 on the CPU: their layout, and products with them.
#pragma once

#include <span>

#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops::cpu {

/// Bytes of one packed matrix of `rows` outputs, a multiple of 64. The matrices of a weight follow one after
/// the other in PackedWeight::data. The layout is chosen for the processor: it is not to be stored.
int64_t floats_bytes(PackedFormat format, int64_t rows, int64_t inputs);

/// Fills w.data, of w.matrices * floats_bytes(format, w.outputs, w.inputs) bytes at a multiple of 64, with
/// values rounded to nearest even (pack_rows).
void pack_floats(Context& ctx, const PackedWeight& w, const ReadRow& row);
/// The same from rows of w.inputs numbers of the format itself, perhaps unaligned (pack_stored).
void pack_stored_floats(Context& ctx, const PackedWeight& w, const StoredRow& row);

/// Data without zeros, or none where these are too few (sparse_panels.h). w.data is not needed.
Tensor pack_sparse_floats(Context& ctx, const PackedWeight& w, const ReadRow& row,
                          double least_zeros = kLeastSparseZeros);

/// y[N,O] = x[N,I] · w_matrix[O,I]^T + bias[O] as packed_linear, with N > 0. With x of the weights' type the
/// bits are those of ops::linear; else both are widened to fp32, multiplied as ops::linear multiplies fp32,
/// and rounded once to y's type. Within a team of threads it uses the calling one alone.
void floats_linear(Context& ctx, const Tensor& x, const PackedWeight& w, int64_t matrix, const Tensor& bias,
                   const Columns& y);

/// Row `row` of the matrices one below the other as f32.
void floats_unpack_row(const PackedWeight& w, int64_t row, std::span<float> values);

}  // namespace trireme::ops::cpu
