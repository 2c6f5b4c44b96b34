// What the processor can do, for bodies that are chosen at run time: asked in words that GCC and clang both
// know.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace trireme::ops::cpu {

#if defined(__x86_64__)

/// f16c, movbe: bit_F16C, bit_MOVBE of CPUID's leaf 1.
inline bool has_leaf_1(unsigned bits) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bits) == bits;
}

inline bool has_f16c() { return __builtin_cpu_supports("avx") && has_leaf_1(bit_F16C); }

/// AMX-BF16: CPUID's leaf 7.
inline bool has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & (1u << 22)) != 0;
}

/// The levels of the x86-64 psABI.
inline bool has_x86_64_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && has_leaf_1(bit_F16C | bit_MOVBE);
}
inline bool has_x86_64_v4() {
  return has_x86_64_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

/// AVX2 with FMA and F16C; AVX-512 with VNNI.
inline bool has_avx2_kernels() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}
inline bool has_vnni_kernels() {
  return has_avx2_kernels() && has_x86_64_v4() && __builtin_cpu_supports("avx512vnni");
}

#else

inline bool has_amx_bf16() { return false; }
#if defined(__aarch64__)
/// SDOT and UDOT, which Armv8.4 has and most of Armv8.2: HWCAP_ASIMDDP of Linux.
inline bool has_dot_products() { return (::getauxval(AT_HWCAP) & (1ul << 20)) != 0; }
#endif

#endif

}  // namespace trireme::ops::cpu
