#include "parallel/checkpoint/format/slice.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme {

std::optional<Box> intersection(const Box& a, const Box& b) {
  const int rank = a.offset.rank();
  int64_t offset[Shape::kMaxRank] = {}, extent[Shape::kMaxRank] = {};
  for (int i = 0; i < rank; ++i) {
    offset[i] = std::max(a.offset[i], b.offset[i]);
    extent[i] = std::min(a.offset[i] + a.extent[i], b.offset[i] + b.extent[i]) - offset[i];
    if (extent[i] <= 0) return std::nullopt;
  }
  const auto size = static_cast<size_t>(rank);
  return Box{Shape(std::span<const int64_t>(offset, size)), Shape(std::span<const int64_t>(extent, size))};
}

bool fits(const Box& box, const Shape& shape) {
  if (box.offset.rank() != shape.rank() || box.extent.rank() != shape.rank()) return false;
  for (int i = 0; i < shape.rank(); ++i) {
    if (box.offset[i] > shape[i] || box.extent[i] > shape[i] - box.offset[i]) return false;
  }
  return true;
}

std::string to_string(const Slice& slice) {
  std::vector<std::string> dims;
  for (int i = 0; i < slice.box.offset.rank(); ++i)
    dims.push_back(fmt::format("{}:{}", slice.box.offset[i], slice.box.offset[i] + slice.box.extent[i]));
  return fmt::format("{}[{}]", slice.name, fmt::join(dims, ", "));
}

Slice whole_slice(std::string name, DType dtype, const Shape& shape) {
  const std::vector<int64_t> zeros(static_cast<size_t>(shape.rank()));
  return {std::move(name), dtype, shape, {Shape(zeros), shape}};
}

std::optional<int64_t> place_of_run(const Box& part, const Box& box) {
  int64_t place = 0;
  bool is_cut = false;  // some dim so far has more than one element of the part
  for (int i = 0; i < box.extent.rank(); ++i) {
    if (is_cut && part.extent[i] != box.extent[i]) return std::nullopt;
    is_cut = is_cut || part.extent[i] > 1;
    place = place * box.extent[i] + part.offset[i] - box.offset[i];
  }
  return place;
}

void copy_box(const Box& part, size_t element_size, const Box& from_box, const std::byte* from,
              const Box& to_box, std::byte* to) {
  const int rank = part.offset.rank();
  if (part.numel() == 0) return;
  // Where `part` begins in a box of packed elements, and how far it is to the next element of a dim.
  struct Walk {
    int64_t begin = 0;
    int64_t strides[Shape::kMaxRank] = {};
  };
  const auto walk_of = [&](const Box& box) {
    Walk walk;
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; --i) {
      walk.strides[i] = stride;
      walk.begin += (part.offset[i] - box.offset[i]) * stride;
      stride *= box.extent[i];
    }
    return walk;
  };
  const Walk source = walk_of(from_box), target = walk_of(to_box);
  // Trailing dims that are whole in both are one run with the dim before.
  int64_t length = 1;
  int dim = rank;
  while (dim > 0) {
    --dim;
    length *= part.extent[dim];
    if (part.extent[dim] != from_box.extent[dim] || part.extent[dim] != to_box.extent[dim]) break;
  }
  const auto bytes = static_cast<size_t>(length) * element_size;
  int64_t counter[Shape::kMaxRank] = {};
  for (int64_t done = 0, total = part.numel(); done < total; done += length) {
    int64_t a = source.begin, b = target.begin;
    for (int i = 0; i < dim; ++i) a += counter[i] * source.strides[i], b += counter[i] * target.strides[i];
    std::memcpy(to + static_cast<size_t>(b) * element_size, from + static_cast<size_t>(a) * element_size,
                bytes);
    for (int i = dim - 1; i >= 0; --i) {
      if (++counter[i] < part.extent[i]) break;
      counter[i] = 0;
    }
  }
}

}  // namespace trireme
