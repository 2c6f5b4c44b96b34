// fp32 products whose bits depend on nothing but their operands and the machine.
#pragma once

#include "runtime/ops/cpu/gemm/gemm_kernels.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cpu {

/// Columns of op(a) whose products are summed before they meet c. Bits depend on it: one value for all.
inline constexpr int64_t kProductDepth = 384;

/// ops::gemm of fp32 matrices with K > 0, on at most `num_threads` threads; a thread of a team has but its
/// own.
void float_gemm(Context& ctx, int num_threads, const GemmOptions& options, const Columns& a, const Tensor& b,
                const Tensor& bias, const Columns& c);

}  // namespace trireme::ops::cpu
