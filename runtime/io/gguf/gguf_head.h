// The parts of a GGUF file's head.
#pragma once

#include <string>
#include <vector>

#include "runtime/io/gguf/gguf_cursor.h"
#include "runtime/io/gguf/gguf_type.h"
#include "runtime/io/gguf/gguf_value.h"
#include "runtime/tensor/shape.h"

namespace trireme {

struct GgufCounts {
  uint32_t version;
  uint64_t tensors, values;
};

/// What the head says of a tensor; `offset` is counted from where the tensors begin.
struct GgufTensorHead {
  std::string name;
  const GgufTypeInfo* type;
  Shape shape;
  uint64_t offset;
  int64_t bytes;
};

/// UserError(bad_input) as GgufReader's constructor, each naming place and value.
GgufCounts read_gguf_counts(GgufCursor& cursor);
std::pair<std::string, GgufValue> read_gguf_value(GgufCursor& cursor);
GgufTensorHead read_gguf_tensor(GgufCursor& cursor);

}  // namespace trireme
