#include "parallel/checkpoint/weights/stored_matrix.h"

#include <cstring>

#include "runtime/base/error.h"
#include "runtime/ops/weight_blocks.h"

namespace trireme {

namespace {

using ops::PackedFormat;

std::optional<ops::BlockType> block_type_of(PackedFormat format) {
  switch (format) {
    case PackedFormat::q8_0:
      return ops::BlockType::q8_0;
    case PackedFormat::q4_0:
      return ops::BlockType::q4_0;
    case PackedFormat::q4_1:
      return ops::BlockType::q4_1;
    case PackedFormat::q4_k:
      return ops::BlockType::q4_k;
    case PackedFormat::q6_k:
      return ops::BlockType::q6_k;
    default:
      return std::nullopt;
  }
}

}  // namespace

StoredBlock stored_block(PackedFormat format) {
  if (const auto type = block_type_of(format)) {
    const ops::BlockLayout layout = ops::layout_of(*type);
    return {layout.elements, layout.bytes};
  }
  TRIREME_CHECK(format == PackedFormat::f32 || format == PackedFormat::bf16 || format == PackedFormat::f16,
                "files have no {}", ops::to_string(ops::PackedSpec{format}));
  return {1, format == PackedFormat::f32 ? 4 : 2};
}

std::optional<PackedFormat> format_of(DType dtype) {
  if (dtype == DType::f32) return PackedFormat::f32;
  if (dtype == DType::bf16) return PackedFormat::bf16;
  if (dtype == DType::f16) return PackedFormat::f16;
  return std::nullopt;
}

std::optional<int64_t> bytes_before(PackedFormat format, const Part& columns) {
  const StoredBlock block = stored_block(format);
  if (columns.begin % block.elements != 0 || columns.size() % block.elements != 0) return std::nullopt;
  return columns.begin / block.elements * block.bytes;
}

void decode_row(PackedFormat format, const std::byte* row, std::span<float> values) {
  const StoredBlock block = stored_block(format);
  const std::span stored(
      row, values.size() / static_cast<size_t>(block.elements) * static_cast<size_t>(block.bytes));
  if (const auto type = block_type_of(format)) return ops::decode_blocks(*type, stored, values);
  if (format == PackedFormat::bf16) return ops::decode_bf16(stored, values);
  if (format == PackedFormat::f16) return ops::decode_fp16(stored, values);
  if (!values.empty()) std::memcpy(values.data(), row, values.size_bytes());
}

}  // namespace trireme
