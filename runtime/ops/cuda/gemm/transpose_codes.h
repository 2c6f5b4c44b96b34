// Transposes of 8-bit matrices.
#pragma once

#include "runtime/tensor/tensor.h"

namespace trireme::ops::cuda {

/// A new tensor [C,R] from codes[R,C], of one of the 8-bit types.
Tensor transposed_codes(Context& ctx, const Tensor& codes);

}  // namespace trireme::ops::cuda
