// Kernels of arm64: of NEON, which every one has, and of its dot products.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"

namespace trireme::ops::cpu {

namespace {

constexpr int kTogether = 1;  // its codes alone fill the registers
#define TRIREME_UNROLL _Pragma("GCC unroll 8")

namespace by_products {

#define TRIREME_KERNEL
#define TRIREME_LANES inline __attribute__((always_inline))

// sum + a · b of four numbers a lane. Two products may exceed 16 bits, so that pairs are added up in 32.
TRIREME_LANES int32x4_t dot(int32x4_t sum, int8x16_t a, int8x16_t b) {
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
  return vaddq_s32(sum, vpaddq_s32(low, high));
}

#include "runtime/ops/cpu/packed/integers/neon_lanes.inc"
#include "runtime/ops/cpu/packed/integers/panel_kernels.inc"

constexpr IntegerKernels kTable = {"neon", TRIREME_PANEL_KERNELS, multiply_all};

}  // namespace by_products

#undef TRIREME_PANEL_KERNELS

namespace by_dots {

#undef TRIREME_KERNEL
#undef TRIREME_LANES
#ifdef __clang__
#define TRIREME_KERNEL __attribute__((target("dotprod")))
#else
#define TRIREME_KERNEL __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#define TRIREME_LANES inline __attribute__((always_inline)) TRIREME_KERNEL

TRIREME_LANES int32x4_t dot(int32x4_t sum, int8x16_t a, int8x16_t b) { return vdotq_s32(sum, a, b); }

#include "runtime/ops/cpu/packed/integers/neon_lanes.inc"
#include "runtime/ops/cpu/packed/integers/panel_kernels.inc"

// What multiplies no integers is as without.
constexpr IntegerKernels with_dots() {
  IntegerKernels kernels = by_products::kTable;
  kernels.instructions = "neon dotprod";
  kernels.multiply = multiply_all;
  const auto take = [&](PanelKind kind, auto integers) {
    kernels.panels[static_cast<size_t>(kind)].integers = integers;
  };
  take(PanelKind::q8_0, Kernels<ScalePerBlock<false>, 8>::integers);
  take(PanelKind::q4_0, Kernels<ScalePerBlock<false>, 4>::integers);
  take(PanelKind::q4_1, Kernels<ScalePerBlock<true>, 4>::integers);
  take(PanelKind::q4_k, Kernels<ScalesOfQ4K, 4>::integers);
  take(PanelKind::q6_k, Kernels<ScalesOfQ6K, 6>::integers);
  take(PanelKind::int8, Kernels<ScalesOfGroups<false>, 8>::integers);
  take(PanelKind::int8_zeros, Kernels<ScalesOfGroups<true>, 8>::integers);
  take(PanelKind::int4, Kernels<ScalesOfGroups<false>, 4>::integers);
  take(PanelKind::int4_zeros, Kernels<ScalesOfGroups<true>, 4>::integers);
  return kernels;
}

}  // namespace by_dots

}  // namespace

const IntegerKernels kNeonIntegerKernels = by_products::kTable;
const IntegerKernels kDotIntegerKernels = by_dots::with_dots();

}  // namespace trireme::ops::cpu
#endif
