// The dims of a tensor, outermost first.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace trireme {

/// Up to 6 dims, none negative. Rank 0 is a scalar with one element.
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  /// Size of dim `i`; negative counts from the innermost (-1).
  int64_t operator[](int i) const;
  int64_t numel() const;
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// The least number of elements from row to row, of a matrix `width` wide, at which rows of every compute
/// type begin at multiples of 128 bytes. GPUs have slow matrix products alone for odd rows (of a vocabulary
/// of 50257 say); nothing lies in what it is longer than the width, and nobody reads it.
inline int64_t aligned_row_stride(int64_t width) { return (width + 63) / 64 * 64; }

/// "[4, 128, 64]".
std::string to_string(const Shape& shape);

}  // namespace trireme
