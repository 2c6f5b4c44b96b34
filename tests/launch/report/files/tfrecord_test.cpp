#include "launch/report/files/tfrecord.h"

#include <gtest/gtest.h>

#include "launch/report/files/tensorboard_event.h"

namespace trireme::launch {
namespace {

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

TEST(TfRecord, Crc32cOfThePublishedVectors) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);    // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);  // RFC 3720, B.4
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  EXPECT_EQ(crc32c(ascending), 0x46DD794Eu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(TfRecord, FrameOfAKnownRecord) {
  // Length 9; masks by hand from the CRCs: ((crc >> 15 | crc << 17) + 0xa282ead8).
  const std::string record = tfrecord("123456789");
  EXPECT_EQ(record.size(), 8u + 4 + 9 + 4);
  EXPECT_EQ(hex(record.substr(0, 8)), "0900000000000000");
  const uint32_t crc = 0xE3069283u;
  const uint32_t mask = ((crc >> 15 | crc << 17) + 0xA282EAD8u);
  std::string expected;
  for (int i = 0; i < 4; ++i) expected += static_cast<char>(mask >> (8 * i) & 255);
  EXPECT_EQ(record.substr(21), expected);
}

TEST(TensorboardEvent, BytesOfAScalar) {
  // wall_time 1.0 (field 1, double), step 300 (field 2, varint), summary (5) of one value (1): tag (1) "a",
  // float (2) 0.5.
  const Scalar scalars[] = {{"a", 0.5f}};
  EXPECT_EQ(hex(scalar_event(1.0, 300, scalars)),
            "09000000000000f03f"
            "10ac02"
            "2a0a"
            "0a08"
            "0a0161"
            "150000003f");
  EXPECT_EQ(hex(first_event(1.0)), "09000000000000f03f1a0d" + hex("brain.Event:2"));
}

}  // namespace
}  // namespace trireme::launch
