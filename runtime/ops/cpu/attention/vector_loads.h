// Vectors of floats from numbers of the types that keys and values are stored in, for templates over the
// vector's width, which cannot call the intrinsics of an instruction set.
#pragma once

#include <cstdint>

#include "runtime/base/half.h"
#include "runtime/ops/cpu/vectorize.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace trireme::ops::cpu {

/// kWidth floats, wherever they lie.
template <int kWidth>
struct VectorLoads {
  typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));
  typedef char Half __attribute__((vector_size(kWidth * 2), aligned(1), may_alias));
  typedef char Quarter __attribute__((vector_size(kWidth), aligned(1), may_alias));

  TRIREME_INLINE static void load(const float* from, Vector& to) {
    to = *reinterpret_cast<const Vector*>(from);
  }

#if defined(__aarch64__)
  TRIREME_INLINE static void load(const bf16* from, Vector& to) {
    to = Vector(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&from->bits), 16)));
  }
  TRIREME_INLINE static void load(const fp16* from, Vector& to) {
    to = Vector(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from->bits))));
  }
  TRIREME_INLINE static void load(const int8_t* from, Vector& to) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, from, sizeof bytes);
    const int16x8_t wide = vmovl_s8(vcreate_s8(bytes));
    to = Vector(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))));
  }
#else
  // GCC takes the conversions apart, or leaves them to scalar code.
  TRIREME_INLINE static void load(const bf16* from, Vector& to) {
    if constexpr (kWidth == 4) return load_each(from, to);
    asm("vpmovzxwd %1, %0\n\tvpslld $16, %0, %0" : "=v"(to) : "m"(*reinterpret_cast<const Half*>(from)));
  }
  TRIREME_INLINE static void load(const fp16* from, Vector& to) {
    if constexpr (kWidth == 4) return load_each(from, to);
    asm("vcvtph2ps %1, %0" : "=v"(to) : "m"(*reinterpret_cast<const Half*>(from)));
  }
  TRIREME_INLINE static void load(const int8_t* from, Vector& to) {
    if constexpr (kWidth == 4) return load_each(from, to);
    asm("vpmovsxbd %1, %0\n\tvcvtdq2ps %0, %0" : "=v"(to) : "m"(*reinterpret_cast<const Quarter*>(from)));
  }
#endif

  /// The first n of them, the rest zero.
  template <class B>
  TRIREME_INLINE static void load_part(const B* from, int64_t n, Vector& to) {
    float values[kWidth] = {};
    for (int64_t j = 0; j < n; ++j) values[j] = static_cast<float>(from[j]);
    load(values, to);
  }

 private:
  template <class B>
  TRIREME_INLINE static void load_each(const B* from, Vector& to) {
    load_part(from, kWidth, to);
  }
};

}  // namespace trireme::ops::cpu
