// How fast this machine multiplies matrices and moves memory.
#pragma once

#include "runtime/device/context.h"
#include "runtime/tensor/dtype.h"

namespace trireme::ops {

/// FLOP/s of a large product of matrices of `dtype` on the context's device and threads, the best of several
/// within a fraction of a second: what MFU is measured against on a CPU.
double measure_gemm_rate(Context& ctx, DType dtype);

/// Bytes/s, read and written together, at which the device changes a tensor in place that no cache holds, the
/// best of several within a fraction of a second: what ops that compute little are measured against. Takes
/// 128 MiB.
double measure_memory_rate(Context& ctx);

}  // namespace trireme::ops
