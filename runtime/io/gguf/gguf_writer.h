// Writes GGUF files (version 3), tensor by tensor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/files/atomic_file.h"
#include "runtime/io/gguf/gguf_type.h"
#include "runtime/io/gguf/gguf_value.h"
#include "runtime/tensor/shape.h"

namespace trireme {

struct GgufSpec {
  std::string name;
  GgufType type;
  Shape shape;  ///< outermost dim first, at most four
};

/// What a file with these begins with, padded to where the tensors begin. "general.alignment" of the
/// metadata, 32 without it, is the file's alignment.
std::string gguf_head(const std::vector<GgufSpec>& tensors, const GgufMetadata& metadata);

/// Writes the head at once and the tensors as they come, in the order of the specs. The file appears at
/// commit(), whole; without it nothing stays behind. Errors of the disk as AtomicFileWriter's.
class GgufWriter {
 public:
  /// CHECKs names (1 to 63 bytes, as llama.cpp takes them), keys that are there once, and rows of whole
  /// blocks. Files of one tensor after the other need no more memory than one piece.
  GgufWriter(std::string path, std::vector<GgufSpec> tensors, const GgufMetadata& metadata);

  /// The next bytes of the tensor `name`, which may come in several parts. CHECKs the order and the sizes.
  void write(std::string_view name, std::span<const std::byte> bytes);
  /// The next values, whole blocks of them, in the tensor's type (encode_gguf()). UserError(bad_input) naming
  /// the tensor when its blocks cannot hold them.
  void write_values(std::string_view name, std::span<const float> values);
  /// CHECKs that every tensor is complete; then as AtomicFileWriter::commit.
  void commit();

 private:
  void skip_complete();

  AtomicFileWriter file_;
  std::vector<GgufSpec> tensors_;
  int64_t alignment_;
  size_t current_ = 0;   // tensor being written
  int64_t written_ = 0;  // bytes of it
};

}  // namespace trireme
