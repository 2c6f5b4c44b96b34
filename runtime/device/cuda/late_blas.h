// cuBLAS and cuBLASLt are opened when they are needed, not when the program starts
// (runtime/ops/cuda/gemm/late_blas.cpp).
#pragma once

namespace trireme::cuda {

/// Opens both, which the first of their functions does otherwise. EnvironmentError where the loader finds
/// none.
void open_blas();

}  // namespace trireme::cuda
