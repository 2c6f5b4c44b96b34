// Matrix products on a GPU are cuBLAS's; here the CPU body stands in for it.
#include "runtime/ops/gemm.h"

#include "tests/support/cuda_on_host/device_memory.h"

namespace trireme::ops::cuda {

void gemm(Context& ctx, const GemmOptions& options, const Tensor& a, const Tensor& b, const Tensor& bias,
          const Tensor& c) {
  const cuda_on_host::DeviceAccess access;
  cpu::gemm(ctx, options, a, b, bias, c);
}

}  // namespace trireme::ops::cuda
