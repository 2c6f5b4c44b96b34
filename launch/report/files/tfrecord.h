// TFRecord framing and CRC32C, as TensorBoard's event files want them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::launch {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

/// One record: length (u64), its masked CRC, the bytes, their masked CRC, all little-endian. A mask is
/// ((crc >> 15 | crc << 17) + 0xa282ead8), so that the CRC of data that holds CRCs stays strong.
std::string tfrecord(std::string_view bytes);

}  // namespace trireme::launch
