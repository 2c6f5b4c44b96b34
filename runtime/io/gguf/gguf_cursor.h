// Reads the head of a GGUF file field by field: nothing beyond the file, and nothing is believed before it
// was compared with the bytes that are left.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

class GgufCursor {
 public:
  GgufCursor(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  size_t place() const { return place_; }
  size_t left() const { return bytes_.size() - place_; }

  /// `what` names the field in messages.
  template <class T>
  requires std::is_arithmetic_v<T> T number(std::string_view what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, bytes_.data() + place_, sizeof value);
    place_ += sizeof value;
    return value;
  }

  std::string_view string(std::string_view what) {
    const auto length = number<uint64_t>(what);
    if (length > left()) {
      fail("{} should have {} bytes, {} are left", what, length, left());
    }
    const std::string_view text = bytes_.substr(place_, length);
    place_ += length;
    return text;
  }

  /// A count of things that take at least `least_bytes` each.
  uint64_t count(std::string_view what, size_t least_bytes) {
    const auto count = number<uint64_t>(what);
    check_count(count, what, least_bytes);
    return count;
  }
  void check_count(uint64_t count, std::string_view what, size_t least_bytes) const {
    if (count > left() / least_bytes) fail("{} is {}; {} bytes are left", what, count, left());
  }

  /// Throws "PATH: byte N: ...".
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_bad_input("{}: byte {}: {}", path_, place_, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void need(size_t bytes, std::string_view what) const {
    if (bytes > left()) fail("the file ends within {}: {} bytes are needed, {} left", what, bytes, left());
  }

  std::string_view bytes_;
  const std::string& path_;
  size_t place_ = 0;
};

}  // namespace trireme
