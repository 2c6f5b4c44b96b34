// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): random numbers that
// are a pure function of (key, counter), so that no value depends on how work is divided.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace trireme {

/// The four 32-bit words at `counter` of the stream `key`.
constexpr std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  std::array<uint32_t, 4> c{static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                            static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// A uniform number in (0, 1) with 23 bits: never 0, never 1.
constexpr float uniform_from_bits(uint32_t bits) {
  return (static_cast<float>(bits >> 9) + 0.5f) * 0x1.0p-23f;
}

/// ln(u) for a positive normal number to about 1 ulp: u = m 2^e with m in [sqrt(1/2), sqrt(2)), and Cephes'
/// logf polynomial in m - 1. No branches, so that loops over it vectorise.
constexpr float log_polynomial(float u) {
  const uint32_t bits = std::bit_cast<uint32_t>(u) - 0x3f3504f3u;  // relative to sqrt(1/2)
  const float e = static_cast<float>(static_cast<int32_t>(bits) >> 23);
  const float x = std::bit_cast<float>((bits & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * x - 1.1514610310e-1f;
  p = p * x + 1.1676998740e-1f;
  p = p * x - 1.2420140846e-1f;
  p = p * x + 1.4249322787e-1f;
  p = p * x - 1.6668057665e-1f;
  p = p * x + 2.0000714765e-1f;
  p = p * x - 2.4999993993e-1f;
  p = p * x + 3.3333331174e-1f;
  const float square = x * x;
  return x + (p * x * square + e * -2.12194440e-4f - 0.5f * square) + e * 0.693359375f;
}

struct Direction {
  float cosine, sine;
};

/// The point on the unit circle at (k + 1/2) / 2^23 turns, k < 2^23: reduced to an eighth of a turn in
/// integers, then Cephes' polynomials.
constexpr Direction direction_from_bits(uint32_t bits) {
  const uint32_t k = (bits >> 9) * 2 + 1;  // in 2^-24 turns
  const uint32_t quadrant = (k + (1u << 21)) >> 22;
  const auto rest = static_cast<int32_t>(k - (quadrant << 22));
  const float x = static_cast<float>(rest) * (2.0f * std::numbers::pi_v<float> * 0x1.0p-24f);
  const float z = x * x;
  const float sine = x + x * z * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
  const float cosine =
      1.0f - 0.5f * z +
      z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const bool swapped = (quadrant & 1u) != 0;
  const uint32_t c = std::bit_cast<uint32_t>(swapped ? sine : cosine) ^ (((quadrant + 1) & 2u) << 30);
  const uint32_t s = std::bit_cast<uint32_t>(swapped ? cosine : sine) ^ ((quadrant & 2u) << 30);
  return {std::bit_cast<float>(c), std::bit_cast<float>(s)};
}

/// Four standard normal numbers (Box-Muller) at `counter` of the stream `key`. Every operation is rounded as
/// IEEE 754 says and none comes from a library: compiled without contraction to fused multiply-adds, the
/// numbers are the same on every machine.
constexpr std::array<float, 4> philox_normal4(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  const auto bits = philox4x32(key, counter_low, counter_high);
  const float radius0 = std::sqrt(-2.0f * log_polynomial(uniform_from_bits(bits[0])));
  const float radius1 = std::sqrt(-2.0f * log_polynomial(uniform_from_bits(bits[2])));
  const Direction d0 = direction_from_bits(bits[1]), d1 = direction_from_bits(bits[3]);
  return {radius0 * d0.cosine, radius0 * d0.sine, radius1 * d1.cosine, radius1 * d1.sine};
}

/// FNV-1a of a name: gives every tensor a stream of its own.
constexpr uint64_t hash_name(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return h;
}

/// The key of a named stream under a seed (the finaliser of SplitMix64, Steele et al., OOPSLA 2014).
constexpr uint64_t stream_key(uint64_t seed, std::string_view name) {
  uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15ull ^ hash_name(name);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace trireme
