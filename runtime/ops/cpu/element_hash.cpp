#include "runtime/ops/element_hash.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops {

namespace {

constexpr uint64_t kStep = 0x9e3779b97f4a7c15ull;

/// Of x: modulo 2^64, and of the high halves, which together give the sum modulo 2^96. Of y before its
/// product, which is of the sum as it is of each.
struct Sums {
  uint64_t x = 0, halves = 0, y = 0;
};

template <class T>
TRIREME_INLINE void add_piece(Sums& sums, const T* bits, int64_t count, uint64_t position, uint64_t second) {
  for (int64_t i = 0; i < count; ++i, position += kStep) {
    uint64_t x = position ^ static_cast<uint64_t>(bits[i]);
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 32;
    x *= 0x94d049bb133111ebull;
    x ^= x >> 29;
    const uint64_t y = x + second;
    sums.x += x;
    sums.halves += x >> 32;
    sums.y += y ^ (y >> 31);
  }
}

/// Lines of memory are asked for ahead of the arithmetic: on processors that do not foresee them well the two
/// would take turns.
template <class T>
TRIREME_INLINE Sums sum_of(const T* bits, int64_t count, uint64_t position, uint64_t second) {
  constexpr int64_t kLine = 64, kPiece = 1024, kAhead = 2048;  // bytes
  constexpr int64_t kLength = kPiece / static_cast<int64_t>(sizeof(T));
  Sums sums;
  for (int64_t begin = 0; begin < count; begin += kLength) {
    const auto* ahead = reinterpret_cast<const char*>(bits + begin) + kAhead;
    for (int64_t at = 0; at < kPiece; at += kLine) __builtin_prefetch(ahead + at);
    add_piece(sums, bits + begin, std::min(kLength, count - begin),
              position + static_cast<uint64_t>(begin) * kStep, second);
  }
  return sums;
}

TRIREME_VECTORIZED Sums sum_1(const uint8_t* bits, int64_t count, uint64_t position, uint64_t second) {
  return sum_of(bits, count, position, second);
}
TRIREME_VECTORIZED Sums sum_2(const uint16_t* bits, int64_t count, uint64_t position, uint64_t second) {
  return sum_of(bits, count, position, second);
}
TRIREME_VECTORIZED Sums sum_4(const uint32_t* bits, int64_t count, uint64_t position, uint64_t second) {
  return sum_of(bits, count, position, second);
}
TRIREME_VECTORIZED Sums sum_8(const uint64_t* bits, int64_t count, uint64_t position, uint64_t second) {
  return sum_of(bits, count, position, second);
}

Sums sum_block(const std::byte* bytes, size_t element_size, int64_t count, uint64_t position,
               uint64_t second) {
  switch (element_size) {
    case 1:
      return sum_1(reinterpret_cast<const uint8_t*>(bytes), count, position, second);
    case 2:
      return sum_2(reinterpret_cast<const uint16_t*>(bytes), count, position, second);
    case 4:
      return sum_4(reinterpret_cast<const uint32_t*>(bytes), count, position, second);
    default:
      TRIREME_CHECK(element_size == 8, "elements of {} bytes", element_size);
      return sum_8(reinterpret_cast<const uint64_t*>(bytes), count, position, second);
  }
}

}  // namespace

ElementHashKey::ElementHashKey(std::string_view name)
    : first(stream_key(0, name)), second(stream_key(1, name)) {}

Sum128 hash_elements(const ElementHashKey& key, int64_t first_index, std::span<const std::byte> bytes,
                     size_t element_size) {
  constexpr int64_t kBlock = int64_t{1} << 30;  // sums of this many halves do not overflow
  const auto count = static_cast<int64_t>(bytes.size() / element_size);
  Sum128 sum;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const uint64_t position = key.first + static_cast<uint64_t>(first_index + begin) * kStep;
    const Sums sums = sum_block(bytes.data() + static_cast<size_t>(begin) * element_size, element_size,
                                std::min(kBlock, count - begin), position, key.second);
    const uint64_t low = sums.x - (sums.halves << 32);  // the sum of the low halves
    sum += {0, low};
    sum += {sums.halves >> 32, sums.halves << 32};
    sum += {sums.y * 0xd6e8feb86659fd93ull, 0};
  }
  return sum;
}

}  // namespace trireme::ops
