#include "runtime/ops/element_hash.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/base/philox.h"

namespace trireme::ops {
namespace {

std::vector<std::byte> drawn(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(philox4x32(5, i, 0)[0]);
  return bytes;
}

// As the header states it, an element at a time in 128 bits.
Sum128 slow_sum(const ElementHashKey& key, int64_t first, std::span<const std::byte> bytes, size_t element) {
  __extension__ using Wide = unsigned __int128;
  Wide sum = 0;
  for (size_t i = 0; i < bytes.size() / element; ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * element, element);
    uint64_t x = (key.first + (static_cast<uint64_t>(first) + i) * 0x9e3779b97f4a7c15ull) ^ bits;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 32;
    x *= 0x94d049bb133111ebull;
    x ^= x >> 29;
    uint64_t y = x + key.second;
    y = (y ^ (y >> 31)) * 0xd6e8feb86659fd93ull;
    sum += (static_cast<Wide>(y) << 64) + x;
  }
  return {static_cast<uint64_t>(sum >> 64), static_cast<uint64_t>(sum)};
}

TEST(ElementHash, IsTheSumThatTheHeaderStates) {
  const ElementHashKey key("layers.0.weight");
  for (const size_t element : {1, 2, 4, 8}) {
    for (const size_t count : {0, 1, 3, 64, 1001}) {
      const auto bytes = drawn(count * element);
      EXPECT_EQ(hash_elements(key, 12345, bytes, element), slow_sum(key, 12345, bytes, element))
          << element << " x " << count;
    }
  }
}

// Before the first line of the copy, lines, and behind the last; copies askew, and nothing beside them.
TEST(ElementHash, CopiesAreTheBytesAndTheSumStays) {
  const ElementHashKey key("layers.0.weight");
  for (const size_t element : {1, 2, 4, 8}) {
    for (const size_t size : {size_t{0}, element, size_t{56}, size_t{64}, size_t{5000}, size_t{9000}}) {
      for (const size_t from : {size_t{0}, element, 5 * element}) {
        for (const size_t to : {size_t{64}, size_t{65}, 64 + element, 128 - element}) {
          const auto bytes = drawn(from + size);
          const auto part = std::span(bytes).subspan(from);
          std::vector<std::byte> copies(size + 200, std::byte{7}), expected = copies;
          std::ranges::copy(part, expected.begin() + static_cast<int64_t>(to));
          EXPECT_EQ(copy_and_hash_elements(key, 12345, part, element, copies.data() + to),
                    slow_sum(key, 12345, part, element));
          EXPECT_EQ(copies, expected) << element << " x " << size / element << " to " << to;
        }
      }
    }
  }
}

TEST(ElementHash, PiecesInAnyOrderMakeTheSameSum) {
  const ElementHashKey key("w");
  const auto bytes = drawn(4000);
  const std::span<const std::byte> all(bytes);
  Sum128 sum;
  for (const int64_t begin : {700, 0, 999, 300}) {
    const int64_t end = begin == 0 ? 300 : begin == 300 ? 700 : begin == 700 ? 999 : 1000;
    sum += hash_elements(
        key, begin, all.subspan(static_cast<size_t>(begin) * 4, static_cast<size_t>(end - begin) * 4), 4);
  }
  EXPECT_EQ(sum, hash_elements(key, 0, all, 4));
}

TEST(ElementHash, EveryBitThePlaceAndTheNameCount) {
  const auto bytes = drawn(256);
  const Sum128 sum = hash_elements(ElementHashKey("a"), 0, bytes, 4);
  for (size_t bit = 0; bit < 256 * 8; ++bit) {
    auto changed = bytes;
    changed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_NE(hash_elements(ElementHashKey("a"), 0, changed, 4), sum) << bit;
  }
  auto swapped = bytes;
  std::swap_ranges(swapped.begin(), swapped.begin() + 4, swapped.begin() + 100);
  EXPECT_NE(hash_elements(ElementHashKey("a"), 0, swapped, 4), sum);
  EXPECT_NE(hash_elements(ElementHashKey("a"), 1, bytes, 4), sum);
  EXPECT_NE(hash_elements(ElementHashKey("b"), 0, bytes, 4), sum);
  // Zeros count too: a tensor that is missing is noticed.
  const std::vector<std::byte> zeros(256);
  EXPECT_NE(hash_elements(ElementHashKey("a"), 0, zeros, 4), Sum128());
}

}  // namespace
}  // namespace trireme::ops
