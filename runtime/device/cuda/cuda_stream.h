// What bodies written in CUDA need of a stream. For files of CUDA rooms only.
#pragma once

#include <cuda_runtime.h>

#include "runtime/device/stream.h"

namespace trireme::cuda {

/// Throws EnvironmentError with CUDA's own words when `call` did not succeed.
void check(cudaError_t status, const char* call);

/// The stream as CUDA knows it; it must be a CUDA stream.
cudaStream_t raw_stream(Stream& stream);

}  // namespace trireme::cuda
