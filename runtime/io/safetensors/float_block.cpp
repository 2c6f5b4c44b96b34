#include "runtime/io/safetensors/float_block.h"

#include <cstring>

#include "runtime/base/error.h"
#include "runtime/base/half.h"

namespace trireme {

namespace {

template <class Element>
void widen(const std::byte* from, std::span<float> to) {
  for (float& value : to) {
    Element element;
    std::memcpy(&element, from, sizeof element);
    from += sizeof element;
    value = static_cast<float>(element);
  }
}

void read_row(DType dtype, const std::byte* from, std::span<float> to) {
  if (dtype == DType::f32) std::memcpy(to.data(), from, to.size_bytes());
  if (dtype == DType::bf16) widen<bf16>(from, to);
  if (dtype == DType::f16) widen<fp16>(from, to);
}

}  // namespace

void read_floats(const StoredTensor& stored, const FloatBlock& block, std::span<float> values) {
  const int64_t width = stored.shape.rank() == 0 ? 1 : stored.shape[-1];
  const int64_t height = width == 0 ? 0 : stored.shape.numel() / width;
  TRIREME_CHECK(is_compute_type(stored.dtype), "a block of {}", to_string(stored.dtype));
  TRIREME_CHECK(block.row >= 0 && block.rows >= 0 && block.row + block.rows <= height && block.column >= 0 &&
                    block.columns >= 0 && block.column + block.columns <= width &&
                    block.rows * block.columns == std::ssize(values),
                "rows {} + {}, columns {} + {} of {}", block.row, block.rows, block.column, block.columns,
                to_string(stored.shape));
  const auto element = static_cast<int64_t>(size_of(stored.dtype));
  const bool is_whole_width = block.columns == width;
  const int64_t pieces = is_whole_width ? 1 : block.rows,
                length = is_whole_width ? block.rows * block.columns : block.columns;
  for (int64_t i = 0; i < pieces; ++i) {
    const int64_t first = (block.row + i) * width + block.column;
    read_row(stored.dtype, stored.bytes.data() + first * element,
             values.subspan(static_cast<size_t>(i * length), static_cast<size_t>(length)));
  }
}

}  // namespace trireme
