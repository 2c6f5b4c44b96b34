// How fast this machine multiplies matrices.
#pragma once

#include "runtime/device/context.h"
#include "runtime/tensor/dtype.h"

namespace trireme::ops {

/// FLOP/s of a large product of matrices of `dtype` on the context's device and threads, the best of several
/// within a fraction of a second: what MFU is measured against on a CPU.
double measure_gemm_rate(Context& ctx, DType dtype);

}  // namespace trireme::ops
