#include "models/formats/tensor_map.h"

#include "runtime/io/gguf/rotary_rows.h"

namespace trireme {

int64_t RowMap::stored_row(int64_t row) const {
  if (interleaved_head_dim > 0) row = interleaved_row(row, interleaved_head_dim);
  if (group == 0) return offset + row;
  return row / group * stride + offset + row % group;
}

}  // namespace trireme
