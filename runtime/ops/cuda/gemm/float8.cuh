// 8-bit floats in packs. Two at once are rounded by the hardware where it can, sm_89 and newer.
#pragma once

#include "runtime/base/float8.h"
#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890

/// The codes of two numbers, the first one's in the lower byte; rounded as Float8::encode does.
template <class T>
__device__ uint16_t encode_pair(float low, float high);
template <>
__device__ inline uint16_t encode_pair<fp8_e4m3>(float low, float high) {
  uint16_t codes;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  return codes;
}
template <>
__device__ inline uint16_t encode_pair<fp8_e5m2>(float low, float high) {
  uint16_t codes;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  return codes;
}

#else

template <class T>
__device__ uint16_t encode_pair(float low, float high) {
  return static_cast<uint16_t>(T::encode(low) | T::encode(high) << 8);
}

#endif

struct alignas(8) Codes {
  uint16_t pairs[kPack / 2];
};

template <class T>
__device__ bool fits_codes(const T* p, int count) {
  return count == kPack && reinterpret_cast<uintptr_t>(p) % alignof(Codes) == 0;
}

/// The codes of the first `count` of x to p.
template <class T>
__device__ void store_codes(T* p, int count, const Codes& codes) {
  if (fits_codes(p, count)) {
    *reinterpret_cast<Codes*>(p) = codes;
    return;
  }
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    if (i < count) p[i].bits = static_cast<uint8_t>(codes.pairs[i / 2] >> (8 * (i % 2)));
  }
}

/// x = the values of the first `count` codes from p on, and zeros.
template <class T>
__device__ void load_codes(const T* p, int count, float (&x)[kPack]) {
  if (fits_codes(p, count)) {
    const Codes codes = *reinterpret_cast<const Codes*>(p);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      T code;
      code.bits = static_cast<uint8_t>(codes.pairs[i / 2] >> (8 * (i % 2)));
      x[i] = static_cast<float>(code);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kPack; ++i) x[i] = i < count ? static_cast<float>(p[i]) : 0.0f;
}

}  // namespace trireme::ops::cuda
