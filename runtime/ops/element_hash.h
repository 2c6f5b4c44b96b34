// A hash of elements, in memory of the host, that does not ask in which order, pieces or places they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace trireme::ops {

/// A number modulo 2^128.
struct Sum128 {
  uint64_t high = 0, low = 0;

  Sum128& operator+=(const Sum128& other) {
    low += other.low;
    high += other.high + (low < other.low ? 1 : 0);
    return *this;
  }
  friend bool operator==(const Sum128&, const Sum128&) = default;
};

/// What tells the elements of one tensor from those of another: two 64-bit keys made of its name.
struct ElementHashKey {
  uint64_t first, second;

  explicit ElementHashKey(std::string_view name);
};

/// The sum of mix(key, index, bits) over elements with the indices first_index, first_index + 1, ...: `bytes`
/// are their bits, of 1, 2, 4 or 8 bytes each, aligned to that. With all arithmetic modulo 2^64, b the bits
/// as an unsigned number and G = 0x9e3779b97f4a7c15:
///
///   x = (key.first + index * G) xor b
///   x = x * 0xbf58476d1ce4e5b9,  x = x xor (x >> 32)
///   x = x * 0x94d049bb133111eb,  x = x xor (x >> 29)
///   y = x + key.second,          y = (y xor (y >> 31)) * 0xd6e8feb86659fd93
///   mix = y * 2^64 + x
///
/// Every step can be undone, so a change of one element always changes the sum; other changes go unseen with
/// the chance of 2^-64 or less that accidents have.
Sum128 hash_elements(const ElementHashKey& key, int64_t first_index, std::span<const std::byte> bytes,
                     size_t element_size);

/// The same, of bytes that it copies to `to`, aligned as they are, in one pass. Copies go past the caches
/// where the processor can do that: for those that nobody reads soon.
Sum128 copy_and_hash_elements(const ElementHashKey& key, int64_t first_index,
                              std::span<const std::byte> bytes, size_t element_size, std::byte* to);

}  // namespace trireme::ops
