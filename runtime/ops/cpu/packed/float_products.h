// Products with one packed matrix of floats.
#pragma once

#include "runtime/ops/cpu/packed/float_layout.h"

namespace trireme::ops::cpu {

/// y = x · w^T + bias in fp32 as ops::linear multiplies; x[N,I] f32, y of any compute type, rounded once.
void multiply_widened(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias,
                      const Columns& y);

/// The same of bf16 by dot products of pairs (pair_dots.h); x bf16, y bf16 or f32.
void multiply_pairs(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias,
                    const Columns& y);

}  // namespace trireme::ops::cpu
