// TensorMap: where a model's parameters lie in files of another program: names, and the order of rows.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/tensor/shape.h"

namespace trireme {

/// Which row of a stored matrix (element of a vector) holds a parameter's row r: with q = r / group and m = r
/// % group, row q * stride + offset + m. Of GPT-NeoX's projection of query, key and value, of which each head
/// has its own D rows of all three, keys have group D, stride 3 D, offset D. group 0: row offset + r.
struct RowMap {
  int64_t group = 0, stride = 0, offset = 0;
  /// Head size where pairs that RoPE turns are stored as neighbours (runtime/io/gguf/rotary_rows.h); 0: they
  /// are not. Applied to r before the rest.
  int64_t interleaved_head_dim = 0;

  int64_t stored_row(int64_t row) const;
  friend bool operator==(const RowMap&, const RowMap&) = default;
};

/// Where one parameter lies.
struct StoredPlace {
  std::string tensor;       ///< name in the file
  int64_t index = -1;       ///< of the parameter's matrix in a stored [N, rows, columns]; -1: there is no N
  bool transposed = false;  ///< stored [columns, rows]: `rows` is then of stored columns
  RowMap rows = {};
  float added = 0;  ///< the parameter is what is stored plus this (Gemma's gains: 1)

  friend bool operator==(const StoredPlace&, const StoredPlace&) = default;
};

/// A tensor as the file has it.
struct StoredTensorShape {
  std::string name;
  Shape shape;

  friend bool operator==(const StoredTensorShape&, const StoredTensorShape&) = default;
};

struct TensorMap {
  std::vector<StoredTensorShape> tensors;  ///< in the order in which the other program writes them
  std::map<std::string, StoredPlace, std::less<>> places;  ///< of all parameters of the model, by their names
};

}  // namespace trireme
