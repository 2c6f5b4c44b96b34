// fp16 to and from fp32 by whatever instructions the machine has.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/base/half.h"

namespace trireme::ops::cpu {

/// One way to convert n elements, round to nearest even. All ways give equal bits, but for what is in a NaN.
struct Fp16Conversion {
  const char* instructions;
  bool available;  ///< on this machine
  void (*widen)(const fp16* from, float* to, int64_t n);
  void (*round)(const float* from, fp16* to, int64_t n);
};

/// All ways, the fastest first; the last is available everywhere.
std::span<const Fp16Conversion> fp16_conversions();

}  // namespace trireme::ops::cpu
