// PackedWeight::data of a CUDA device: made on the host, in the layout of the kernels (packed_layout.h). What
// packed_weight.cpp calls for contexts of such a device.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/packed/packed_weight.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops::cuda {

/// u8 on the context's device. The host fills some of it while the rest is on its way. Codes are kept
/// as they are; scales are numbers of bf16 (CHECK) unless `scales`, of PackedWeight, is f32.
Tensor pack_integers(Context& ctx, const PackedSpec& spec, DType scales, int64_t matrices, int64_t outputs,
                     int64_t inputs, const ReadCodes& row);
/// f32, bf16 or f16, rounded to nearest even.
Tensor pack_floats(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                   const ReadRow& row);
/// As ops::pack_stored.
Tensor pack_stored(Context& ctx, PackedFormat format, int64_t matrices, int64_t outputs, int64_t inputs,
                   const StoredRow& row);

/// As ops::unpack_row; waits for the device.
void unpack_row(Context& ctx, const PackedWeight& w, int64_t row, std::span<float> values);

}  // namespace trireme::ops::cuda
