#include "runtime/ops/element_hash.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops {

namespace {

constexpr uint64_t kStep = 0x9e3779b97f4a7c15ull;

/// Of x: modulo 2^64, and of the high halves, which together give the sum modulo 2^96. Of y before its
/// product, which is of the sum as it is of each.
struct Sums {
  uint64_t x = 0, halves = 0, y = 0;

  void operator+=(const Sums& other) {
    x += other.x;
    halves += other.halves;
    y += other.y;
  }
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
      return sum_8(reinterpret_cast<const uint64_t*>(bytes), count, position, second);
  }
}

constexpr int64_t kLineBytes = 64;

#if defined(__x86_64__)

/// Whole lines, wherever they begin, copied to lines of `to` unless it is null. A line is asked for ahead of
/// the arithmetic, of which there is enough to hide the copy behind.
template <size_t kSize>
__attribute__((target("arch=x86-64-v4"))) Sums sum_lines(const std::byte* from, int64_t lines,
                                                         uint64_t position, uint64_t second, std::byte* to) {
  typedef uint64_t Lanes __attribute__((vector_size(64)));
  constexpr int kAhead = 2048, kLanes = 8, kParts = 8 / kSize;  // elements of a lane
  constexpr uint64_t kMask = kSize == 8 ? ~uint64_t{0} : (uint64_t{1} << (kSize * 8 % 64)) - 1;
  // Part p of lane l is element l * kParts + p.
  Lanes positions = {}, x_sum = {}, halves = {}, y_sum = {};
  for (int lane = 0; lane < kLanes; ++lane)
    positions[lane] = position + static_cast<uint64_t>(lane * kParts) * kStep;
  for (int64_t i = 0; i < lines; ++i, from += kLineBytes) {
    __builtin_prefetch(from + kAhead);
    Lanes line;
    std::memcpy(&line, from, sizeof line);
    if (to != nullptr) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(line));
      to += kLineBytes;
    }
#pragma GCC unroll 8
    for (int part = 0; part < kParts; ++part, line >>= kSize * 8 % 64) {
      Lanes x = positions ^ (part + 1 < kParts ? line & kMask : line);
      positions += kStep * static_cast<uint64_t>(part + 1 < kParts ? 1 : (kLanes - 1) * kParts + 1);
      x *= 0xbf58476d1ce4e5b9ull;
      x ^= x >> 32;
      x *= 0x94d049bb133111ebull;
      x ^= x >> 29;
      const Lanes y = x + second;
      x_sum += x;
      halves += x >> 32;
      y_sum += y ^ (y >> 31);
    }
  }
  Sums sums;
  for (int lane = 0; lane < kLanes; ++lane) sums += {x_sum[lane], halves[lane], y_sum[lane]};
  return sums;
}

Sums sum_lines(const std::byte* from, size_t element_size, int64_t lines, uint64_t position, uint64_t second,
               std::byte* to) {
  switch (element_size) {
    case 1:
      return sum_lines<1>(from, lines, position, second, to);
    case 2:
      return sum_lines<2>(from, lines, position, second, to);
    case 4:
      return sum_lines<4>(from, lines, position, second, to);
    default:
      return sum_lines<8>(from, lines, position, second, to);
  }
}

bool has_lines() {
  static const bool has = cpu::has_x86_64_v4();
  return has;
}

void copy_line(const std::byte* from, std::byte* to) {
  for (int64_t at = 0; at < kLineBytes; at += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
}

void end_copies() { _mm_sfence(); }  // those past the caches are otherwise seen at any time

#else

Sums sum_lines(const std::byte*, size_t, int64_t, uint64_t, uint64_t, std::byte*) { return {}; }
bool has_lines() { return false; }
void copy_line(const std::byte* from, std::byte* to) { std::memcpy(to, from, kLineBytes); }
void end_copies() {}

#endif

/// A run of elements, in order: each call takes the next ones, and copies them unless `to` is null.
struct Run {
  const std::byte* from;
  std::byte* to;
  size_t element_size;
  uint64_t position, second;
  Sums sums = {};

  void go_on(int64_t bytes) {
    from += bytes;
    if (to != nullptr) to += bytes;
    position += static_cast<uint64_t>(bytes) / element_size * kStep;
  }

  void take(int64_t bytes) {
    if (bytes == 0) return;
    sums += sum_block(from, element_size, bytes / static_cast<int64_t>(element_size), position, second);
    if (to != nullptr) std::memcpy(to, from, static_cast<size_t>(bytes));
    go_on(bytes);
  }

  void take_lines(int64_t lines) {
    if (has_lines()) {
      sums += sum_lines(from, element_size, lines, position, second, to);
      go_on(lines * kLineBytes);
      return;
    }
    constexpr int64_t kLines = 64;  // copied out of the cache
    while (to != nullptr && lines > 0) {
      const int64_t count = std::min(kLines, lines);
      sums += sum_block(from, element_size, count * kLineBytes / static_cast<int64_t>(element_size), position,
                        second);
      for (int64_t i = 0; i < count; ++i) copy_line(from + i * kLineBytes, to + i * kLineBytes);
      go_on(count * kLineBytes);
      lines -= count;
    }
    take(lines * kLineBytes);
  }
};

/// Of a run whose halves' sum does not overflow.
Sums sum_run(Run run, int64_t bytes) {
  // To the first line of `to`; where it lies askew no line is one of memory's.
  const auto address = reinterpret_cast<uintptr_t>(run.to);
  const auto before = std::min(bytes, static_cast<int64_t>(-address % kLineBytes));
  const bool is_askew = address % run.element_size != 0;
  if (!is_askew) {
    run.take(before);
    run.take_lines((bytes - before) / kLineBytes);
    run.take((bytes - before) % kLineBytes);
  } else {
    run.take(bytes);
  }
  return run.sums;
}

}  // namespace

ElementHashKey::ElementHashKey(std::string_view name)
    : first(stream_key(0, name)), second(stream_key(1, name)) {}

Sum128 copy_and_hash_elements(const ElementHashKey& key, int64_t first_index,
                              std::span<const std::byte> bytes, size_t element_size, std::byte* to) {
  constexpr int64_t kBlock = int64_t{1} << 30;  // sums of this many halves do not overflow
  TRIREME_CHECK(element_size == 1 || element_size == 2 || element_size == 4 || element_size == 8,
                "elements of {} bytes", element_size);
  const auto count = static_cast<int64_t>(bytes.size() / element_size);
  Sum128 sum;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const auto at = static_cast<size_t>(begin) * element_size;
    const uint64_t position = key.first + static_cast<uint64_t>(first_index + begin) * kStep;
    const Sums sums =
        sum_run({bytes.data() + at, to == nullptr ? to : to + at, element_size, position, key.second},
                std::min(kBlock, count - begin) * static_cast<int64_t>(element_size));
    const uint64_t low = sums.x - (sums.halves << 32);  // the sum of the low halves
    sum += {0, low};
    sum += {sums.halves >> 32, sums.halves << 32};
    sum += {sums.y * 0xd6e8feb86659fd93ull, 0};
  }
  if (to != nullptr) end_copies();
  return sum;
}

Sum128 hash_elements(const ElementHashKey& key, int64_t first_index, std::span<const std::byte> bytes,
                     size_t element_size) {
  return copy_and_hash_elements(key, first_index, bytes, element_size, nullptr);
}

}  // namespace trireme::ops
