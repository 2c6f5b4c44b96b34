// XXH3-128 (github.com/Cyan4973/xxHash): what a file holds in 16 bytes, at the speed of memory. It finds
// every accident of disks and networks; it is not made to withstand somebody who forges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace trireme {

struct Hash128 {
  uint64_t high = 0, low = 0;

  friend bool operator==(const Hash128&, const Hash128&) = default;
};

/// 32 digits, the high ones first: as xxhsum -H2 prints it.
std::string to_string(const Hash128& hash);
/// What to_string() wrote; nothing for any other text.
std::optional<Hash128> parse_hash128(std::string_view text);

Hash128 xxh3_128(std::span<const std::byte> bytes);
inline Hash128 xxh3_128(std::string_view text) { return xxh3_128(std::as_bytes(std::span(text))); }

/// The same of bytes that come in pieces.
class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  Xxh3Stream(const Xxh3Stream&) = delete;
  Xxh3Stream& operator=(const Xxh3Stream&) = delete;

  void update(std::span<const std::byte> bytes);
  Hash128 digest() const;
  /// Restarts.
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
