// Protocol Buffers on the wire: fields of a message, without its schema.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme {

struct WireField {
  uint32_t number = 0;
  enum class Kind : uint8_t { varint, fixed64, bytes, fixed32 } kind = Kind::varint;
  uint64_t value = 0;      ///< of varint, fixed64 and fixed32
  std::string_view bytes;  ///< of bytes

  /// UserError(bad_input) naming `what` when the field is of another kind.
  bool as_flag(const std::string& what) const;
  int32_t as_int(const std::string& what) const;
  float as_float(const std::string& what) const;
  std::string_view as_bytes(const std::string& what) const;
};

class WireReader {
 public:
  /// `name` is what messages name.
  WireReader(std::string_view message, std::string name) : rest_(message), name_(std::move(name)) {}

  /// False at the end. UserError(bad_input) when the message is cut short or malformed.
  bool next(WireField& field);

 private:
  uint64_t varint();
  std::string_view take(uint64_t bytes);

  std::string_view rest_;
  std::string name_;
};

/// A message, field by field.
class WireWriter {
 public:
  void bytes(uint32_t number, std::string_view value);
  void integer(uint32_t number, int32_t value);
  void real(uint32_t number, float value);
  const std::string& message() const { return message_; }

 private:
  void varint(uint64_t value);

  std::string message_;
};

}  // namespace trireme
