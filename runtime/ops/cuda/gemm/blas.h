// What all calls of cuBLAS and cuBLASLt share. Both count columns first: a row-major matrix is the transpose
// of what they see, and c^T = op(b)^T op(a)^T.
#pragma once

#include <cublasLt.h>

#include "runtime/base/error.h"
#include "runtime/tensor/dtype.h"

namespace trireme::ops::cuda {

/// Throws EnvironmentError with cuBLAS's own words when `call` did not succeed.
inline void check_blas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw_environment("{} failed: {} ({})", call, cublasGetStatusString(status), cublasGetStatusName(status));
  }
}

/// Of a compute type or an 8-bit one.
inline cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    case DType::f8e4m3:
      return CUDA_R_8F_E4M3;
    case DType::f8e5m2:
      return CUDA_R_8F_E5M2;
    default:
      return CUDA_R_32F;
  }
}

/// What cuBLAS makes and wants destroyed.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle_ != nullptr) kDestroy(handle_);
  }
  Handle* out() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

inline constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA advises for Hopper

}  // namespace trireme::ops::cuda
