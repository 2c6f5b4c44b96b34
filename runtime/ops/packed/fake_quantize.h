// Weights in training, rounded as quantization will round them: packed for the forward product, as values for
// the backward one, and with scales that are trained too.
#pragma once

#include "runtime/ops/packed/packed_weight.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops {

/// Learned scales are stored as base-2 logarithms (arXiv 1903.08066, section 3.1), so that a step of AdamW
/// changes a scale by a share of itself, whatever its size, and none reaches zero. The scale that counts is
/// the nearest bf16 of the power, from 2^-64 to 2^64. Both functions are each other's inverse on such scales.
float scale_of_log(float log_scale);
float log_of_scale(float scale);

/// Codes of a row of int8 or int4, symmetric, with given scales: round(value / scale), clipped to [-127, 127]
/// or [-7, 7]. Returns the first input that is not finite, or -1, as quantize_row().
int64_t quantize_row_by(const PackedSpec& spec, std::span<const float> values, std::span<const float> scales,
                        std::span<uint8_t> codes);

/// Packs w [matrices * outputs, inputs], of any compute type: pack_rows() of its values. `log_scales` f32
/// [matrices * outputs, groups, 1]: with these scales instead. UserError (bad_input) for a value that is not
/// finite.
PackedWeight pack_weights(Context& ctx, const PackedSpec& spec, int64_t matrices, const Tensor& w,
                          const Tensor& log_scales = {});

/// to = what the codes of pack_weights() stand for, rounded to the type. `to`: shape and type of w.
void fake_quantize(Context& ctx, const PackedSpec& spec, const Tensor& w, const Tensor& log_scales,
                   const Tensor& to);

/// The gradients behind fake_quantize() with learned scales, given that of its values, dvalues f32 (LSQ,
/// arXiv 1902.08153, equations 3 and 5, and its gradient scale 1 / sqrt(inputs of a group * largest code)):
/// added to dw f32, where it passes but for weights that are clipped, and to dlog_scales f32.
void add_learned_gradients(Context& ctx, const PackedSpec& spec, const Tensor& w, const Tensor& log_scales,
                           const Tensor& dvalues, const Tensor& dw, const Tensor& dlog_scales);

}  // namespace trireme::ops
