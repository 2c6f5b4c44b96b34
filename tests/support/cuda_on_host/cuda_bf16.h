// Stands in for CUDA's header of this name; see cuda_runtime.h.
#pragma once

#include "runtime/base/half.h"

struct __nv_bfloat16 {
  unsigned short bits;
};

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {trireme::bf16(x).bits}; }
