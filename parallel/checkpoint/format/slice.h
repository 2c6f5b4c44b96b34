// Slices: what checkpoints are made of. A slice is a box of a named tensor of the whole model, so it means
// the same in every layout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

/// A box of a tensor: indices offset[i] <= x[i] < offset[i] + extent[i]. Its elements are in row-major order.
struct Box {
  Shape offset, extent;

  int64_t numel() const { return extent.numel(); }
  friend bool operator==(const Box&, const Box&) = default;
};

/// What lies in both boxes of one tensor; nothing where they have no element in common.
std::optional<Box> intersection(const Box& a, const Box& b);

/// Whether the box lies in a tensor of this shape, without overflow for any numbers.
bool fits(const Box& box, const Shape& shape);

struct Slice {
  std::string name;  ///< of the logical tensor, the same in every layout
  DType dtype;
  Shape shape;  ///< of the whole tensor
  Box box;

  int64_t bytes() const { return box.numel() * static_cast<int64_t>(size_of(dtype)); }
  friend bool operator==(const Slice&, const Slice&) = default;
};

/// "layers.0.weight[4:8, 0:16]".
std::string to_string(const Slice& slice);

/// A slice that is a whole tensor.
Slice whole_slice(std::string name, DType dtype, const Shape& shape);

/// The elements of `part` in tensor memory: copies them from the packed elements of `from_box`, which holds
/// them, to those of `to_box`, which does too.
void copy_box(const Box& part, size_t element_size, const Box& from_box, const std::byte* from,
              const Box& to_box, std::byte* to);

/// Where the elements of `part` begin among the packed ones of `box`, which holds them, if they are
/// neighbours there.
std::optional<int64_t> place_of_run(const Box& part, const Box& box);

/// Calls `run(index, place, count)` for each run of elements of the box that are neighbours in the tensor:
/// `index` is that of its first element, row-major in the whole tensor, `place` in the box. In order.
template <class Run>
void for_each_run(const Box& box, const Shape& shape, Run&& run) {
  const int rank = shape.rank();
  if (box.numel() == 0) return;
  // Trailing dims that the box has whole are one with the dim before.
  int64_t length = 1;
  int dim = rank;
  while (dim > 0) {
    --dim;
    length *= box.extent[dim];
    if (box.extent[dim] != shape[dim]) break;
  }
  // From here on `dim` is where a run is cut; the dims before it are counted through.
  int64_t counter[Shape::kMaxRank] = {};
  for (int64_t place = 0, total = box.numel(); place < total; place += length) {
    int64_t index = 0;
    for (int i = 0; i < rank; ++i) index = index * shape[i] + box.offset[i] + (i < dim ? counter[i] : 0);
    run(index, place, length);
    for (int i = dim - 1; i >= 0; --i) {
      if (++counter[i] < box.extent[i]) break;
      counter[i] = 0;
    }
  }
}

}  // namespace trireme
