// Writes numbers and scales of one tile into memory of the host, in the layout of packed_layout.h, and reads
// them again.
#pragma once

#include <cstring>

#include "runtime/ops/cuda/packed/packed_layout.h"

namespace trireme::ops::cuda {

/// Reads a tile's memory on the host.
class HostTile {
 public:
  explicit HostTile(const std::byte* data) : data_(data) {}
  int u8(int64_t byte) const { return std::to_integer<int>(data_[byte]); }
  uint16_t u16(int64_t byte) const { return read<uint16_t>(byte); }
  float f32(int64_t byte) const { return read<float>(byte); }

 private:
  template <class T>
  T read(int64_t byte) const {
    T value;
    std::memcpy(&value, data_ + byte, sizeof(T));
    return value;
  }
  const std::byte* data_;
};

/// `data` is filled with zeros at first.
class TileWriter {
 public:
  TileWriter(const PackedLayout& layout, std::byte* data) : l_(layout), data_(data) {}

  /// A number of 4, 6 or 8 bits, once.
  void code(int output, int64_t input, unsigned number) const {
    const CodePlace at = l_.code(output, input);
    or_bits(at.byte, (l_.bits == 8 ? number : number & 0xfu) << at.shift);
    if (l_.bits == 6) or_bits(at.high, number >> 4 << at.high_shift);
  }
  /// One of 16 or 32.
  template <class T>
  void number(int output, int64_t input, T bits) const {
    std::memcpy(data_ + l_.code(output, input).byte, &bits, sizeof(T));
  }
  /// An entry of a table of scales, which begins at `from` (PackedLayout::scale_byte).
  template <class T>
  void scale(int64_t from, int64_t row, int output, int entries, int entry, T value) const {
    std::memcpy(data_ + from + l_.scale_byte(row, output, entries, entry, static_cast<int>(sizeof(T))),
                &value, sizeof(T));
  }

 private:
  void or_bits(int64_t byte, unsigned bits) const { data_[byte] |= static_cast<std::byte>(bits); }

  const PackedLayout& l_;
  std::byte* data_;
};

/// Row `output` of the tile from ggml's blocks of the format, as they are stored.
void write_blocks(const PackedLayout& layout, PackedFormat format, const std::byte* stored, int output,
                  const TileWriter& to);

}  // namespace trireme::ops::cuda
