#include "runtime/io/gguf/gguf_elements.h"

#include <cstring>
#include <limits>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/ops/weight_blocks.h"

namespace trireme {

namespace {

std::optional<ops::BlockType> block_type(GgufType type) {
  switch (type) {
    case GgufType::q8_0:
      return ops::BlockType::q8_0;
    case GgufType::q4_0:
      return ops::BlockType::q4_0;
    case GgufType::q4_1:
      return ops::BlockType::q4_1;
    case GgufType::q4_k:
      return ops::BlockType::q4_k;
    case GgufType::q6_k:
      return ops::BlockType::q6_k;
    default:
      return std::nullopt;
  }
}

template <class Half>
void narrow_to(std::span<const float> values, std::span<std::byte> stored) {
  TRIREME_CHECK(stored.size() == values.size() * sizeof(Half), "{} bytes for {} values", stored.size(),
                values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const Half half(values[i]);
    std::memcpy(stored.data() + i * sizeof half, &half, sizeof half);
  }
}

}  // namespace

void decode_gguf(GgufType type, std::span<const std::byte> stored, std::span<float> values) {
  if (const auto blocks = block_type(type)) {
    ops::decode_blocks(*blocks, stored, values);
  } else if (type == GgufType::f16) {
    ops::decode_fp16(stored, values);
  } else if (type == GgufType::bf16) {
    ops::decode_bf16(stored, values);
  } else {
    TRIREME_CHECK(stored.size() == values.size_bytes(), "{} bytes for {} values", stored.size(),
                  values.size());
    if (!values.empty()) std::memcpy(values.data(), stored.data(), stored.size());
  }
}

bool encode_gguf(GgufType type, int64_t columns, std::span<const float> values,
                 std::span<const float> importance, std::span<std::byte> stored, int num_threads) {
  if (const auto blocks = block_type(type)) {
    if (!ops::can_encode(*blocks, values)) return false;
    ops::encode_rows(*blocks, columns, values, importance, stored, num_threads);
  } else if (type == GgufType::f16) {
    narrow_to<fp16>(values, stored);
  } else if (type == GgufType::bf16) {
    narrow_to<bf16>(values, stored);
  } else {
    TRIREME_CHECK(type == GgufType::f32 && stored.size() == values.size_bytes(),
                  "{} bytes of {} for {} values", stored.size(), info_of(type).name, values.size());
    if (!values.empty()) std::memcpy(stored.data(), values.data(), stored.size());
  }
  return true;
}

bool encode_gguf(GgufType type, std::span<const float> values, std::span<std::byte> stored) {
  return encode_gguf(type, std::ssize(values), values, {}, stored);
}

float largest_in_gguf(GgufType type) {
  const auto blocks = block_type(type);
  return blocks ? ops::largest_in(*blocks) : std::numeric_limits<float>::infinity();
}

}  // namespace trireme
