// What a device of CUDA is able to do.
#pragma once

#include "runtime/device/context.h"
#include "runtime/device/cuda/cuda_stream.h"

namespace trireme::ops::cuda {

/// A service of the context: its device, asked once.
class ComputeCapability {
 public:
  explicit ComputeCapability(Context& ctx)
      : major_(ask(ctx, cudaDevAttrComputeCapabilityMajor)),
        minor_(ask(ctx, cudaDevAttrComputeCapabilityMinor)) {}
  int major() const { return major_; }
  int minor() const { return minor_; }

 private:
  static int ask(Context& ctx, cudaDeviceAttr attribute) {
    int value = 0;
    trireme::cuda::check(cudaDeviceGetAttribute(&value, attribute, ctx.device().index),
                         "cudaDeviceGetAttribute");
    return value;
  }

  int major_, minor_;
};

}  // namespace trireme::ops::cuda
