#include "runtime/tensor/shape.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme {

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  TRIREME_CHECK(dims.size() <= kMaxRank, "{} dims", dims.size());
  for (const int64_t d : dims) TRIREME_CHECK(d >= 0, "dim of size {}", d);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

int64_t Shape::operator[](int i) const {
  const int at = i < 0 ? i + rank_ : i;
  TRIREME_CHECK(at >= 0 && at < rank_, "dim {} of {}", i, to_string(*this));
  return dims_[static_cast<size_t>(at)];
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (const int64_t d : dims()) n *= d;
  return n;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.dims(), ", ")); }

}  // namespace trireme
