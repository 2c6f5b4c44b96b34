// Types of the tensors in GGUF files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme {

/// The values are those in files. Types that this program reads and writes.
enum class GgufType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q8_0 = 8,
  q4_k = 12,
  q6_k = 14,
  bf16 = 30
};

/// What is known of a type: elements of a row come in blocks.
struct GgufTypeInfo {
  uint32_t id;            ///< in files
  std::string_view name;  ///< "Q4_K", as ggml spells it
  int64_t block_elements;
  int64_t block_bytes;
  bool is_readable;
};

/// Of every type that ggml has today, also of those that are only listed. Null for other numbers.
const GgufTypeInfo* find_gguf_type(uint32_t id);
const GgufTypeInfo& info_of(GgufType type);

/// "F32, F16, ...": those that can be read.
std::string readable_gguf_types();

}  // namespace trireme
