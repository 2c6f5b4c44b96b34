#include "parallel/checkpoint/format/cut_range.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {

namespace {

/// The largest box that begins at element `begin` of the block and ends by `end`: whole trailing dims, part
/// of one, one index of each before it.
Box largest_box(const Box& block, int64_t begin, int64_t end) {
  const int rank = block.extent.rank();
  int64_t index[Shape::kMaxRank] = {};
  for (int64_t rest = begin, i = rank - 1; i >= 0; --i) {
    const int64_t extent = block.extent[static_cast<int>(i)];
    index[i] = rest % extent;
    rest /= extent;
  }
  // Outwards while the inner dims begin at their beginning and are reached whole.
  int dim = rank - 1;
  int64_t stride = 1;
  while (dim > 0 && index[dim] == 0 && begin + stride * block.extent[dim] <= end)
    stride *= block.extent[dim--];
  int64_t offset[Shape::kMaxRank] = {}, extent[Shape::kMaxRank] = {};
  for (int i = 0; i < rank; ++i) {
    offset[i] = block.offset[i] + index[i];
    extent[i] = i < dim ? 1 : block.extent[i];
  }
  extent[dim] = std::min(block.extent[dim] - index[dim], (end - begin) / stride);
  const auto size = static_cast<size_t>(rank);
  return {Shape(std::span<const int64_t>(offset, size)), Shape(std::span<const int64_t>(extent, size))};
}

}  // namespace

std::vector<BoxOfRun> cut_range(const Box& block, int64_t begin, int64_t end) {
  TRIREME_CHECK(begin >= 0 && begin <= end && end <= block.numel(), "elements {} to {} of {}", begin, end,
                block.numel());
  std::vector<BoxOfRun> boxes;
  if (block.extent.rank() == 0 && end > begin) return {{block, 0}};
  for (int64_t at = begin; at < end;) {
    const Box box = largest_box(block, at, end);
    boxes.push_back({box, at - begin});
    at += box.numel();
  }
  return boxes;
}

std::vector<SliceInBuffer> slices_of(const LocalRange& range, const std::string& name, DType dtype) {
  const Parameter& p = *range.parameter;
  std::vector<SliceInBuffer> slices;
  for (const BoxOfRun& part : cut_range({p.offset, p.shape}, range.first, range.first + range.size()))
    slices.push_back({{name, dtype, p.global_shape, part.box}, range.begin + part.begin});
  return slices;
}

}  // namespace trireme
