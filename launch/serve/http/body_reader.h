// BodyReader: the body of one request out of the bytes after its head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::launch {

/// Of a known length, or chunked (RFC 9112, 7.1; extensions and trailers are passed over). What comes of some
/// bytes does not depend on the pieces they arrive in.
class BodyReader {
 public:
  enum class State { needs_bytes, complete, too_long, long_line, malformed };

  /// `length`: none for a chunked body of `body_bytes` at most, whose lines have `line_bytes` at most, and so
  /// its trailers together.
  BodyReader(std::optional<uint64_t> length, size_t body_bytes, size_t line_bytes);

  /// Takes what belongs to the body from the front of `buffer`.
  State read(std::string& buffer);
  std::string& body() { return body_; }

 private:
  enum class Part : uint8_t { size_line, data, end_of_data, trailers, end };
  State read_part(std::string_view rest, size_t& used);
  State read_line(std::string_view rest, std::string_view& line) const;
  State begin_chunk(std::string_view line);

  size_t body_bytes_, line_bytes_;
  bool is_chunked_;
  Part part_;
  uint64_t missing_ = 0;  ///< bytes of the data that have not come
  size_t trailer_bytes_ = 0;
  std::string body_;
};

}  // namespace trireme::launch
