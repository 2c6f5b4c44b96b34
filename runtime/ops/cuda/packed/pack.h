// PackedWeight::data of a CUDA device: made on the host, in the layout of the kernels (packed_layout.h). What
// packed_weight.cpp calls for contexts of such a device.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops::cuda {

/// Where one row of int8 or int4 goes: w[i] = scales[g] * (codes[i] - zeros[g]) with g = i / spec.group (0
/// where the group is the whole row), in fp32. Scales are numbers of bf16 (CHECK). Codes and zeros are below
/// 256 or 16; zeros of symmetric ones are 128 or 8.
struct IntegerRow {
  std::span<uint8_t> codes;  ///< one an input
  std::span<float> scales;   ///< one a group
  std::span<uint8_t> zeros;  ///< one a group
};
/// Fills a row of the matrices one below the other; called from several threads.
using ReadIntegers = std::function<void(int64_t row, const IntegerRow& to)>;

/// Bytes of the tensors below.
int64_t packed_bytes(const PackedSpec& spec, int64_t matrices, int64_t outputs, int64_t inputs);

/// u8 on the context's device. The host fills some of it while the rest is on its way.
Tensor pack_integers(Context& ctx, const PackedSpec& spec, int64_t matrices, int64_t outputs, int64_t inputs,
                     const ReadIntegers& row);
/// f32, bf16 or f16, rounded to nearest even.
Tensor pack_floats(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                   const ReadRow& row);
/// As ops::pack_stored.
Tensor pack_stored(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                   const StoredRow& row);

/// As ops::unpack_row; waits for the device.
void unpack_row(Context& ctx, const PackedWeight& w, int64_t row, std::span<float> values);

}  // namespace trireme::ops::cuda
