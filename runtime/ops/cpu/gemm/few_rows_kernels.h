// Products of few rows with a transposed matrix that is read where it lies: packing it would cost more than
// the product. Functions of GemmKernels, one for each instruction set.
#pragma once

#include "runtime/ops/cpu/gemm/gemm_kernels.h"

namespace trireme::ops::cpu {

#if defined(__aarch64__)
void multiply_few_neon(const FewRowsProduct& p);
#else
void multiply_few_sse(const FewRowsProduct& p);
#endif
#ifndef TRIREME_ONE_VERSION
void multiply_few_avx2(const FewRowsProduct& p);
void multiply_few_avx512(const FewRowsProduct& p);
#endif

}  // namespace trireme::ops::cpu
