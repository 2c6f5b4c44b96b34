// Stands in for CUDA's header of this name; see cuda_runtime.h.
#pragma once

#include "runtime/base/half.h"

struct __half {
  unsigned short bits;
};

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __float2half_rn(float x) { return {trireme::fp16(x).bits}; }
inline float __half2float(__half x) {
  trireme::fp16 value;
  value.bits = x.bits;
  return value;
}
