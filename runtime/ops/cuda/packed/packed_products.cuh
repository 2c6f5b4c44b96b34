// Products with packed weights by the type of x, each in a source of its own: they take long to compile.
#pragma once

#include "runtime/ops/cuda/packed/packed_operands.cuh"

namespace trireme::ops::cuda {

/// On tensor cores, for weights of 4 bits, of 6 or 8, of fp8, and floats of x's type.
template <class T>
void multiply_packed_4(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups);
template <class T>
void multiply_packed_6(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups);
template <class T>
void multiply_packed_8(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups);
template <class T>
void multiply_packed_fp8(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups);
template <class T>
void multiply_packed_16(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups);

/// In fp32: x of fp32 with all weights, of bf16 and fp16 with floats of other types.
template <class T>
void multiply_packed_exactly(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups);

}  // namespace trireme::ops::cuda
