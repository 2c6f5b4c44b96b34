// Kernels of every machine, and the choice among all.
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/base/half.h"
#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/packed/integers/integer_kernels.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

#define TRIREME_LANES TRIREME_INLINE
#define TRIREME_KERNEL
#define TRIREME_UNROLL

constexpr int kTogether = 1;

struct Floats {
  float of[16];
};
struct Ints {
  uint32_t of[16];
};

#define TRIREME_EACH_LANE(Type, expression)                        \
  Type out;                                                        \
  for (int lane = 0; lane < 16; ++lane) out.of[lane] = expression; \
  return out

// Sixteen words, bytes or halves at an address.
TRIREME_LANES Ints load(const uint8_t* at) {
  Ints out;
  std::memcpy(&out, at, sizeof out);
  return out;
}
TRIREME_LANES Ints load_bytes(const uint8_t* at) { TRIREME_EACH_LANE(Ints, at[lane]); }
TRIREME_LANES Ints load_signed_bytes(const uint8_t* at) {
  TRIREME_EACH_LANE(Ints, static_cast<uint32_t>(static_cast<int8_t>(at[lane])));
}
TRIREME_LANES Floats load_floats(const float* at) { TRIREME_EACH_LANE(Floats, at[lane]); }
TRIREME_LANES uint16_t bits_at(const uint8_t* at) { return static_cast<uint16_t>(at[0] | at[1] << 8); }
TRIREME_LANES Floats load_fp16(const uint8_t* at) {
  Floats out;
  for (int lane = 0; lane < 16; ++lane) {
    fp16 half;
    half.bits = bits_at(at + 2 * lane);
    out.of[lane] = half;
  }
  return out;
}
TRIREME_LANES Floats load_bf16(const uint8_t* at) {
  TRIREME_EACH_LANE(Floats, std::bit_cast<float>(static_cast<uint32_t>(bits_at(at + 2 * lane)) << 16));
}
TRIREME_LANES void store(float* to, const Floats& x) { std::memcpy(to, &x, sizeof x); }

TRIREME_LANES Floats zeros() { return {}; }
TRIREME_LANES Floats every(float x) { TRIREME_EACH_LANE(Floats, x); }
TRIREME_LANES Ints every(int32_t x) { TRIREME_EACH_LANE(Ints, static_cast<uint32_t>(x)); }
TRIREME_LANES Ints every_byte(int x) {
  return every(static_cast<int32_t>(static_cast<uint32_t>(x) * 0x01010101u));
}

TRIREME_LANES Ints both(const Ints& a, const Ints& b) { TRIREME_EACH_LANE(Ints, a.of[lane] & b.of[lane]); }
TRIREME_LANES Ints either(const Ints& a, const Ints& b) { TRIREME_EACH_LANE(Ints, a.of[lane] | b.of[lane]); }
TRIREME_LANES Ints differing(const Ints& a, const Ints& b) {
  TRIREME_EACH_LANE(Ints, a.of[lane] ^ b.of[lane]);
}
TRIREME_LANES Ints minus(const Ints& a, const Ints& b) { TRIREME_EACH_LANE(Ints, a.of[lane] - b.of[lane]); }
TRIREME_LANES Ints times(const Ints& a, const Ints& b) { TRIREME_EACH_LANE(Ints, a.of[lane] * b.of[lane]); }
template <int n>
TRIREME_LANES Ints left(const Ints& x) {
  TRIREME_EACH_LANE(Ints, x.of[lane] << n);
}
template <int n>
TRIREME_LANES Ints right(const Ints& x) {
  TRIREME_EACH_LANE(Ints, x.of[lane] >> n);
}
template <int n>
TRIREME_LANES Ints byte_of(const Ints& x) {
  TRIREME_EACH_LANE(Ints, (x.of[lane] >> (8 * n)) & 255);
}
/// Byte n of each lane, as a lane's highest.
template <int n>
TRIREME_LANES Ints top_byte(const Ints& x) {
  TRIREME_EACH_LANE(Ints, x.of[lane] >> (8 * n) << 24);
}

TRIREME_LANES Floats to_floats(const Ints& x) {
  TRIREME_EACH_LANE(Floats, static_cast<float>(static_cast<int32_t>(x.of[lane])));
}
TRIREME_LANES Floats negative(const Floats& x) { TRIREME_EACH_LANE(Floats, -x.of[lane]); }
TRIREME_LANES Floats plus(const Floats& a, const Floats& b) {
  TRIREME_EACH_LANE(Floats, a.of[lane] + b.of[lane]);
}
TRIREME_LANES Floats multiply(const Floats& a, const Floats& b) {
  TRIREME_EACH_LANE(Floats, a.of[lane] * b.of[lane]);
}
TRIREME_LANES Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  TRIREME_EACH_LANE(Floats, std::fma(a.of[lane], b.of[lane], c.of[lane]));
}

/// Input j of a line of E4M3, times 2^-8: the bits of fp16 are a sign, a bit of the exponent that is zero,
/// and the code's.
template <int j>
TRIREME_LANES Floats small_fp8(const Ints& line) {
  Floats out;
  for (int lane = 0; lane < 16; ++lane) {
    const uint32_t code = line.of[j / 2 * 8 + lane / 2] >> (lane % 2 * 16 + j % 2 * 8);
    fp16 half;
    half.bits = static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7);
    out.of[lane] = half;
  }
  return out;
}

/// sum + the products of a lane's four codes, of kBits bits, with the four numbers at x.
template <int kBits>
TRIREME_LANES Ints add_products(const Ints& sum, const Ints& codes, const int8_t* x) {
  const auto x0 = static_cast<uint32_t>(x[0]), x1 = static_cast<uint32_t>(x[1]),
             x2 = static_cast<uint32_t>(x[2]), x3 = static_cast<uint32_t>(x[3]);
  TRIREME_EACH_LANE(Ints, sum.of[lane] + (codes.of[lane] & 255) * x0 + ((codes.of[lane] >> 8) & 255) * x1 +
                              ((codes.of[lane] >> 16) & 255) * x2 + (codes.of[lane] >> 24) * x3);
}

#include "runtime/ops/cpu/packed/integers/panel_kernels.inc"

std::vector<const IntegerKernels*> find_integer_kernels() {
  std::vector<const IntegerKernels*> found{&kPlainIntegerKernels};
#if defined(__x86_64__)
  if (has_avx2_kernels()) found.push_back(&kAvx2IntegerKernels);
  if (has_vnni_kernels()) found.push_back(&kAvx512IntegerKernels);
#elif defined(__aarch64__)
  found.push_back(&kNeonIntegerKernels);
  if (has_dot_products()) found.push_back(&kDotIntegerKernels);
#endif
  return found;
}

}  // namespace

const IntegerKernels kPlainIntegerKernels = {"plain", TRIREME_PANEL_KERNELS, multiply_all};

std::span<const IntegerKernels* const> all_integer_kernels() {
  static const std::vector<const IntegerKernels*> all = find_integer_kernels();
  return all;
}

}  // namespace trireme::ops::cpu
