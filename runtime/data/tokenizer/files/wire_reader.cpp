#include "runtime/data/tokenizer/files/wire_reader.h"

#include <bit>

#include "runtime/base/error.h"

namespace trireme {
namespace {

void check_kind(bool is_right, const WireField& field, const std::string& what) {
  if (!is_right) throw_bad_input("{}: field {} is of another type than expected", what, field.number);
}

}  // namespace

bool WireField::as_flag(const std::string& what) const {
  check_kind(kind == Kind::varint && value <= 1, *this, what);
  return value == 1;
}
int32_t WireField::as_int(const std::string& what) const {
  const auto whole = static_cast<int64_t>(value);  // negative numbers take ten bytes
  check_kind(kind == Kind::varint && whole >= INT32_MIN && whole <= INT32_MAX, *this, what);
  return static_cast<int32_t>(whole);
}
float WireField::as_float(const std::string& what) const {
  check_kind(kind == Kind::fixed32, *this, what);
  return std::bit_cast<float>(static_cast<uint32_t>(value));
}
std::string_view WireField::as_bytes(const std::string& what) const {
  check_kind(kind == Kind::bytes, *this, what);
  return bytes;
}

bool WireReader::next(WireField& field) {
  if (rest_.empty()) return false;
  const uint64_t tag = varint();
  field = {};
  field.number = static_cast<uint32_t>(tag >> 3);
  if (tag >> 3 == 0 || tag >> 32 != 0)
    throw_bad_input("{} is not a Protocol Buffers message: a field has the number {}", name_, tag >> 3);
  const auto little_endian = [](std::string_view bytes) {
    uint64_t value = 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return value;
  };
  switch (tag & 7u) {
    case 0:
      field.value = varint();
      return true;
    case 1:
      field.kind = WireField::Kind::fixed64;
      field.value = little_endian(take(8));
      return true;
    case 2:
      field.kind = WireField::Kind::bytes;
      field.bytes = take(varint());
      return true;
    case 5:
      field.kind = WireField::Kind::fixed32;
      field.value = little_endian(take(4));
      return true;
    default:
      throw_bad_input("{} is not a Protocol Buffers message: field {} has the wire type {}", name_,
                      field.number, tag & 7u);
  }
}

uint64_t WireReader::varint() {
  uint64_t value = 0;
  for (uint32_t shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<uint8_t>(take(1)[0]);
    value |= static_cast<uint64_t>(byte & 0x7Fu) << shift;
    if (byte < 0x80) return value;
  }
  throw_bad_input("{} is not a Protocol Buffers message: a number takes more than ten bytes", name_);
}

std::string_view WireReader::take(uint64_t bytes) {
  if (bytes > rest_.size())
    throw_bad_input("{} is cut short, or not a Protocol Buffers message: {} bytes are needed, {} are left",
                    name_, bytes, rest_.size());
  const auto taken = rest_.substr(0, bytes);
  rest_.remove_prefix(bytes);
  return taken;
}

void WireWriter::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) message_ += static_cast<char>((value & 0x7Fu) | 0x80u);
  message_ += static_cast<char>(value);
}

void WireWriter::bytes(uint32_t number, std::string_view value) {
  varint(uint64_t{number} << 3 | 2u);
  varint(value.size());
  message_ += value;
}

void WireWriter::integer(uint32_t number, int32_t value) {
  varint(uint64_t{number} << 3);
  varint(static_cast<uint64_t>(int64_t{value}));
}

void WireWriter::real(uint32_t number, float value) {
  varint(uint64_t{number} << 3 | 5u);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (uint32_t shift = 0; shift < 32; shift += 8) message_ += static_cast<char>(bits >> shift & 0xFFu);
}

}  // namespace trireme
