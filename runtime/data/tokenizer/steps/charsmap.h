// SentencePiece's precompiled map of strings to what stands for them (its normalization rules).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// A double array (Aoe 1989, as Darts lays it out: 32-bit units) over the strings, and the replacements, each
/// ended by a zero byte.
class Charsmap {
 public:
  Charsmap() = default;
  /// `blob`: the size of the array in bytes (32 bits, little-endian), the array, the replacements; empty for
  /// a map of nothing. UserError(bad_input) naming `name` when it is something else.
  Charsmap(std::string_view blob, const std::string& name);

  /// The replacement of the shortest and of the longest entry that `text` begins with, and how many bytes it
  /// takes.
  std::optional<std::string_view> shortest(std::string_view text) const;
  struct Entry {
    std::string_view replacement;
    size_t length;
  };
  std::optional<Entry> longest(std::string_view text) const;

 private:
  /// Calls found(length, value) for the entries that are prefixes of `text`, the shorter first, until it
  /// returns false.
  template <class Found>
  void for_each_prefix(std::string_view text, const Found& found) const;
  std::string_view replacement(uint32_t place) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace trireme
