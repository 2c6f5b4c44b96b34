// Products with packed weights of integer formats on the CPU.
#pragma once

#include <span>

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme::ops::cpu {

/// y[R,O] = x[R,I] · w^T + bias as packed_grouped_linear, with counts.size() == w.matrices; bias, for one
/// matrix alone, may be absent. `kernels` are those of the machine but in tests.
void integers_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const PackedWeight& w,
                     Activations activations, const Tensor& bias, const Columns& y,
                     const IntegerKernels& kernels = integer_kernels());

}  // namespace trireme::ops::cpu
