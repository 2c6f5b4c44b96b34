// PackedWeight: weight matrices that are only read, in the layout of the kernels that multiply by them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// How numbers are stored. q8_0 to q6_k: ggml's blocks (ops/weight_blocks.h), whose values are kept bit for
/// bit. int8, int4: our own groups. fp8: E4M3 (OFP8) with a scale for each output.
enum class PackedFormat : uint8_t { f32, bf16, f16, q8_0, q4_0, q4_1, q4_k, q6_k, int8, int4, fp8 };

struct PackedSpec {
  PackedFormat format = PackedFormat::f32;
  /// int8 and int4: so many inputs of an output share a scale: 32, 64 or 128; 0: all (per channel). The last
  /// group may have fewer.
  int64_t group = 0;
  /// int8 and int4: w = scale * q, q in [-127, 127] or [-7, 7]; else w = scale * (q - zero) with the
  /// group's smallest and largest value (and 0) within.
  bool symmetric = true;
  /// bf16, f32 and symmetric int8: zeros are not stored, but a bit for each weight and the values of the
  /// others. What is packed is sparse on CPUs with AVX-512 VBMI2 alone, and where so many are zeros that
  /// products with one row are faster than with a dense weight (kLeastSparseZeros); else it is dense, and
  /// says so. f16 is not faster: conversion takes longer than memory.
  bool sparse = false;

  friend bool operator==(const PackedSpec&, const PackedSpec&) = default;
};

/// "q4_1", "int4 in groups of 64, asymmetric", "sparse bf16".
std::string to_string(const PackedSpec& spec);
/// Whether numbers are codes with scales: integers, or those of fp8.
bool is_integer(PackedFormat format);
/// Of a sparse weight's numbers so many at least are zeros: with fewer a dense one is as fast.
inline constexpr double kLeastSparseZeros = 0.3;
/// Whether there are sparse weights of it.
bool can_be_sparse(const PackedSpec& spec);

/// `matrices` matrices [outputs, inputs] one below the other (more than one: of experts). Immutable; copies
/// share memory.
struct PackedWeight {
  PackedSpec spec;
  int64_t matrices = 1;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Tensor data;  ///< u8; the layout is that of the device's kernels
  /// How scales of int8 and int4 are stored: as bf16, or as f32 where a scale is no number of bf16. Those of
  /// fp8 are f32 always.
  DType scales = DType::bf16;
  /// i32 [matrices, inputs], or none: place j of a row has the weight of input order[matrix, j].
  Tensor order = {};

  int64_t rows() const { return matrices * outputs; }
};

/// How many of a sparse weight's numbers are zeros, in [0, 1].
double zero_share(const PackedWeight& w);

/// Bytes of dense ones on the CPU.
int64_t packed_bytes(const PackedSpec& spec, DType scales, int64_t matrices, int64_t outputs, int64_t inputs);

/// Fills `values` with row `row` of the matrices one below the other, whole; called from several threads.
using ReadRow = std::function<void(int64_t row, std::span<float> values)>;
/// Where the stored bytes of a row begin (whole blocks; perhaps unaligned); called from several threads.
using StoredRow = std::function<const std::byte*(int64_t row)>;

/// Packs values: f32 as they are, bf16 and f16 rounded to nearest even, int8, int4 and fp8 rounded to the
/// nearest of each group's numbers (quantize_row.h). Not for ggml's blocks. UserError (bad_input) for a value
/// that is not finite where the format has scales.
PackedWeight pack_rows(Context& ctx, const PackedSpec& spec, int64_t matrices, int64_t outputs,
                       int64_t inputs, const ReadRow& row);
/// Packs rows of ggml's blocks, or of bf16 or f16 numbers or floats, without changing a value. `inputs` is a
/// multiple of the format's block.
PackedWeight pack_stored(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                         const StoredRow& row);
/// The values of a row as f32: of ggml's blocks those of decode_blocks, bit for bit.
void unpack_row(Context& ctx, const PackedWeight& w, int64_t row, std::span<float> values);

}  // namespace trireme::ops
