#include "launch/report/files/tensorboard_event.h"

#include <algorithm>
#include <bit>

namespace trireme::launch {

namespace {

// Field numbers of tensorflow/core/util/event.proto and summary.proto.
enum EventField : uint32_t { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5 };
enum SummaryField : uint32_t { kValue = 1 };
enum ValueField : uint32_t { kTag = 1, kSimpleValue = 2 };

class Message {
 public:
  void number(uint32_t field, uint64_t value) {
    varint(field << 3);
    varint(value);
  }
  void fixed(uint32_t field, double value) { little_endian(field << 3 | 1u, std::bit_cast<uint64_t>(value)); }
  void fixed(uint32_t field, float value) { little_endian(field << 3 | 5u, std::bit_cast<uint32_t>(value)); }
  void bytes(uint32_t field, std::string_view value) {
    varint(field << 3 | 2u);
    varint(value.size());
    bytes_ += value;
  }
  const std::string& str() const { return bytes_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  template <class T>
  void little_endian(uint32_t key, T value) {
    varint(key);
    for (size_t i = 0; i < sizeof value; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFF);
  }

  std::string bytes_;
};

}  // namespace

std::string first_event(double time) {
  Message event;
  event.fixed(kWallTime, time);
  event.bytes(kFileVersion, "brain.Event:2");
  return event.str();
}

std::string scalar_event(double time, int64_t step, std::span<const Scalar> scalars) {
  Message summary;
  for (const Scalar& scalar : scalars) {
    Message value;
    value.bytes(kTag, scalar.tag);
    value.fixed(kSimpleValue, scalar.value);
    summary.bytes(kValue, value.str());
  }
  Message event;
  event.fixed(kWallTime, time);
  event.number(kStep, static_cast<uint64_t>(step));
  event.bytes(kSummary, summary.str());
  return event.str();
}

int64_t step_of_event(std::string_view event) {
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (unsigned shift = 0; at < event.size() && shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(event[at++]);
      value |= static_cast<uint64_t>(byte & 0x7Fu) << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < event.size()) {
    const uint64_t key = varint();
    constexpr uint64_t kVarint = 0, kEight = 1, kBytes = 2;
    if ((key & 7) == kVarint) {
      const uint64_t value = varint();
      if (key >> 3 == kStep) return static_cast<int64_t>(value);
    } else if ((key & 7) == kEight) {
      at += 8;
    } else if ((key & 7) == kBytes) {
      const uint64_t size = varint();
      at += static_cast<size_t>(std::min<uint64_t>(size, event.size()));
    } else {
      at += 4;
    }
  }
  return 0;
}

}  // namespace trireme::launch
