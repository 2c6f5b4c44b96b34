// What a lane holds of packed weights: the numbers of one unit (packed_layout.h) as they lie in memory, and
// how they become the left factor of a product. Integers become numbers of 16 bits that are exact:
// differences of codes and zeros are at most 256.
#pragma once

#include "runtime/ops/cuda/mma.cuh"
#include "runtime/ops/cuda/packed/packed_layout.h"

namespace trireme::ops::cuda {

struct alignas(8) TwoWords {
  unsigned at[2];
};
struct alignas(16) FourWords {
  unsigned at[4];
};

/// kBase with an integer below 128 (bf16) or 1024 (fp16) as its last bits is their sum.
template <class T>
struct IntegersIn;
template <>
struct IntegersIn<bf16> {
  static constexpr unsigned kPair = 0x43004300u;
  static constexpr float kBase = 128;
};
template <>
struct IntegersIn<fp16> {
  static constexpr unsigned kPair = 0x64006400u;
  static constexpr float kBase = 1024;
};

#ifdef __CUDACC__
/// a + b, rounded, for both halves.
__device__ inline unsigned add_pairs(unsigned a, unsigned b, bf16) {
  unsigned sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));
  return sum;
}
__device__ inline unsigned add_pairs(unsigned a, unsigned b, fp16) {
  unsigned sum;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(a), "r"(b));
  return sum;
}
/// Bytes `first` and first + 1 of the word, each above a zero byte's place: 0x00bb00aa.
template <int First>
__device__ unsigned two_bytes(unsigned word) {
  return __byte_perm(word, 0, First == 0 ? 0x4140 : 0x4342);
}
#else
template <class T>
unsigned add_pairs(unsigned a, unsigned b, T) {
  const auto half = [](unsigned pair, int shift) {
    T value;
    value.bits = static_cast<uint16_t>(pair >> shift);
    return static_cast<float>(value);
  };
  return pair_of<T>(half(a, 0) + half(b, 0), half(a, 16) + half(b, 16));
}
template <int First>
unsigned two_bytes(unsigned word) {
  const unsigned two = word >> 8 * First;
  return (two & 0xffu) | (two & 0xff00u) << 8;
}
#endif

/// An integer below 2^23.
__device__ inline float as_float(unsigned integer) {
  return __uint_as_float(0x4b000000u | integer) - 8388608.0f;
}

/// Four bits, lane 4 g + t: pair p of step j are bits 4 p of both halves of word j.
struct Codes4 {
  static constexpr int kStepsAGroup = 2, kAhead = 4;
  static constexpr bool kIsInteger = true;
  FourWords four;

  __device__ void load(const std::byte* unit, int lane) {
    four = reinterpret_cast<const FourWords*>(unit)[lane];
  }
  template <class T>
  __device__ TileA tile(int step, const float (&zero)[2], T) const {
    TileA a;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float minus = -(IntegersIn<T>::kBase + zero[p % 2]);
      a.pairs[p] = add_pairs((four.at[step] >> 4 * p & 0x000f000fu) | IntegersIn<T>::kPair,
                             pair_of<T>(minus, minus), T{});
    }
    return a;
  }
  /// Number e of pair p.
  __device__ float number(int step, int p, int e) const {
    return as_float(four.at[step] >> (4 * p + 16 * e) & 0xfu);
  }
};

/// Four bits as above, two more in another word for two steps.
struct Codes6 {
  static constexpr int kStepsAGroup = 1, kAhead = 2;
  static constexpr bool kIsInteger = true;
  FourWords four;
  TwoWords two;

  __device__ void load(const std::byte* unit, int lane) {
    four = reinterpret_cast<const FourWords*>(unit)[lane];
    two = reinterpret_cast<const TwoWords*>(unit + kUnitVectors)[lane];
  }
  __device__ unsigned pair(int step, int p) const {
    return (four.at[step] >> 4 * p & 0x000f000fu) | (two.at[step / 2] >> (2 * p + step % 2 * 8) & 0x00030003u)
                                                        << 4;
  }
  template <class T>
  __device__ TileA tile(int step, const float (&zero)[2], T) const {
    TileA a;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float minus = -(IntegersIn<T>::kBase + zero[p % 2]);
      a.pairs[p] = add_pairs(pair(step, p) | IntegersIn<T>::kPair, pair_of<T>(minus, minus), T{});
    }
    return a;
  }
  __device__ float number(int step, int p, int e) const {
    return as_float(pair(step, p) >> 16 * e & 0xffffu);
  }
};

/// Eight bits: pair p of a step are bytes 2 p and 2 p + 1 of its eight.
struct Codes8 {
  static constexpr int kStepsAGroup = 2, kAhead = 2;
  static constexpr bool kIsInteger = true;
  FourWords four[2];

  __device__ void load(const std::byte* unit, int lane) {
#pragma unroll
    for (int v = 0; v < 2; ++v) four[v] = reinterpret_cast<const FourWords*>(unit + v * kUnitVectors)[lane];
  }
  __device__ unsigned word(int step, int p) const { return four[step / 2].at[step % 2 * 2 + p / 2]; }
  template <class T>
  __device__ TileA tile(int step, const float (&zero)[2], T) const {
    TileA a;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const unsigned both = p % 2 == 0 ? two_bytes<0>(word(step, p)) : two_bytes<2>(word(step, p));
      if constexpr (std::is_same_v<T, fp16>) {
        const float minus = -(IntegersIn<T>::kBase + zero[p % 2]);
        a.pairs[p] = add_pairs(both | IntegersIn<T>::kPair, pair_of<T>(minus, minus), T{});
      } else {  // seven bits of a bf16 follow each other, not eight
        a.pairs[p] = pair_of<T>(as_float(both & 0xffu) - zero[p % 2], as_float(both >> 16) - zero[p % 2]);
      }
    }
    return a;
  }
  __device__ float number(int step, int p, int e) const {
    return as_float(word(step, p) >> (p % 2 * 16 + e * 8) & 0xffu);
  }
};

/// E4M3, where Codes8 has integers: numbers of bf16 and of fp16 too.
struct CodesFp8 {
  static constexpr int kStepsAGroup = 2, kAhead = 2;
  static constexpr bool kIsInteger = true;
  Codes8 bytes;

  __device__ void load(const std::byte* unit, int lane) { bytes.load(unit, lane); }
  template <class T>
  __device__ TileA tile(int step, const float (&)[2], T) const {
    TileA a;
#pragma unroll
    for (int p = 0; p < 4; ++p) a.pairs[p] = pair_of<T>(number(step, p, 0), number(step, p, 1));
    return a;
  }
  __device__ float number(int step, int p, int e) const {
    const unsigned code = bytes.word(step, p) >> (p % 2 * 16 + e * 8);
    fp16 half;
    half.bits = static_cast<uint16_t>((code & 0x80u) << 8 | (code & 0x7fu) << 7);
    return 256.0f * widen(half);
  }
};

/// Numbers of 16 bits, as they are.
template <class Number>
struct Codes16 {
  static constexpr int kStepsAGroup = 4, kAhead = 1;
  static constexpr bool kIsInteger = false;
  FourWords four[4];

  __device__ void load(const std::byte* unit, int lane) {
#pragma unroll
    for (int v = 0; v < 4; ++v) four[v] = reinterpret_cast<const FourWords*>(unit + v * kUnitVectors)[lane];
  }
  __device__ TileA tile(int step, const float (&)[2], Number) const {
    return {four[step].at[0], four[step].at[1], four[step].at[2], four[step].at[3]};
  }
  __device__ float number(int step, int p, int e) const {
    Number x;
    x.bits = static_cast<uint16_t>(four[step].at[p] >> 16 * e);
    return widen(x);
  }
};

struct Codes32 {
  static constexpr int kStepsAGroup = 4, kAhead = 1;
  static constexpr bool kIsInteger = false;
  FourWords four[8];

  __device__ void load(const std::byte* unit, int lane) {
#pragma unroll
    for (int v = 0; v < 8; ++v) four[v] = reinterpret_cast<const FourWords*>(unit + v * kUnitVectors)[lane];
  }
  __device__ float number(int step, int p, int e) const {
    return __uint_as_float(four[2 * step + p / 2].at[p % 2 * 2 + e]);
  }
};

}  // namespace trireme::ops::cuda
