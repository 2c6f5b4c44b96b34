// Files of named tensors with metadata in the GGUF format (github.com/ggml-org/ggml, docs/gguf.md), which
// llama.cpp and what builds on it read: a header of counts, metadata, and the tensors' names, types, shapes
// and places; then the tensors, each at a multiple of the file's alignment. All little endian.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/files/mapped_file.h"
#include "runtime/io/gguf/gguf_type.h"
#include "runtime/io/gguf/gguf_value.h"
#include "runtime/tensor/shape.h"

namespace trireme {

struct GgufTensor {
  const GgufTypeInfo* type;
  Shape shape;                       ///< outermost dim first, unlike in the file
  std::span<const std::byte> bytes;  ///< as long as the reader; may be unaligned

  /// The innermost dim, whose elements form blocks; 1 of a scalar.
  int64_t columns() const { return shape.rank() == 0 ? 1 : shape[-1]; }
  /// All other dims together.
  int64_t rows() const { return columns() == 0 ? 0 : shape.numel() / columns(); }
};

/// From `begin`, before `end`.
struct GgufRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

class GgufReader {
 public:
  /// Maps the file and checks all that it says of itself, before memory is asked for: versions 2 and 3.
  /// UserError(bad_input), naming file, key or tensor, place and value, for: another version or byte order,
  /// counts, strings and lists longer than the file, keys and tensors that are there twice, lists of lists,
  /// flags other than 0 and 1, an alignment that is no power of two, types that ggml does not have, rows that
  /// are no whole blocks, tensors that overlap, leave gaps, or do not end with the file.
  explicit GgufReader(std::string path);

  const std::string& path() const { return file_.path(); }
  uint32_t version() const { return version_; }
  int64_t alignment() const { return alignment_; }
  const GgufMetadata& metadata() const { return metadata_; }
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const { return tensors_; }
  /// Names in the order of the file.
  const std::vector<std::string>& order() const { return order_; }

  /// Null where there is no such key.
  const GgufValue* find(std::string_view key) const;
  // A value that must be there and of such a type; UserError(bad_input) naming file, key and type otherwise.
  const std::string& text(std::string_view key) const;
  int64_t integer(std::string_view key) const;  ///< any whole number that fits
  double real(std::string_view key) const;      ///< any number

  /// UserError(bad_input) when the file has no such tensor.
  const GgufTensor& at(std::string_view name) const;

  /// Part of a tensor as fp32, row by row, so that a rank reads no more than its shard: these rows, and of
  /// each these columns (all of them without). The bits are those of gguf.quants. UserError(bad_input) naming
  /// the types that can be read when this is none.
  void read(std::string_view name, GgufRange rows, std::optional<GgufRange> columns, std::span<float> values,
            int num_threads = 1) const;

  /// MappedFile::release_pages().
  void release_pages() const noexcept { file_.release_pages(); }

 private:
  void read_head();

  MappedFile file_;
  uint32_t version_ = 0;
  int64_t alignment_ = 32;
  GgufMetadata metadata_;
  std::map<std::string, size_t, std::less<>> places_;  // of keys in metadata_
  std::map<std::string, GgufTensor, std::less<>> tensors_;
  std::vector<std::string> order_;
};

}  // namespace trireme
