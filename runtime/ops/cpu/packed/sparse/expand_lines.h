// Lines of a dense panel out of their values that are not zero and a bit for each of their elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace trireme::ops::cpu {

inline constexpr int64_t kLineBytes = 64;
/// Bytes behind the last value that are read too.
inline constexpr int64_t kReadBeyond = kLineBytes;

/// Elements of a line: of 1, 2 or 4 bytes; and what a zero is stored as (of codes of one byte).
struct LineElements {
  int64_t bytes = 4;
  uint8_t zero = 0;

  int64_t per_line() const { return kLineBytes / bytes; }
  int64_t mask_bytes() const { return per_line() / 8; }
};

/// to[lines, 64 bytes]: an element whose bit is set is the next of `values`, the others are `zero`. Bit i of
/// a line's mask, little-endian, is of element i. Returns where the values of the next line begin.
using ExpandLines = const std::byte* (*)(const std::byte* masks, const std::byte* values, int64_t lines,
                                         uint8_t zero, std::byte* to);
struct ExpandKernels {
  const char* instructions;
  ExpandLines bytes, halves, words;

  ExpandLines of(const LineElements& elements) const {
    return elements.bytes == 1 ? bytes : elements.bytes == 2 ? halves : words;
  }
};

/// Those that the machine can run, the fastest last. All give the same bits.
std::span<const ExpandKernels* const> all_expand_kernels();
inline const ExpandKernels& expand_kernels() { return *all_expand_kernels().back(); }

}  // namespace trireme::ops::cpu
