// Files of named tensors in the safetensors format (github.com/huggingface/safetensors): eight bytes of
// header length (little endian), a JSON header, the tensors' bytes without gaps.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/mapped_file.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

using TextMap = std::map<std::string, std::string, std::less<>>;

struct StoredTensor {
  DType dtype;
  Shape shape;
  std::span<const std::byte> bytes;  ///< little endian, row-major, as long as the reader; may be unaligned
  bool is_signed = false;            ///< of u8: the bytes are signed numbers ("I8")
};

class SafetensorsReader {
 public:
  /// Maps the file and checks its whole header. UserError(bad_input), naming file, tensor and numbers, for: a
  /// header longer than the file or 100 MB, JSON that is wrong or repeats a name, a dtype this program does
  /// not have, a shape that does not make the bytes of its offsets, tensors that overlap, leave gaps or do
  /// not end with the file. Tensors whose names `passes_over` takes may have any dtype; tensors() leaves
  /// them out.
  explicit SafetensorsReader(std::string path, const std::function<bool(std::string_view)>& passes_over = {});

  const std::string& path() const { return file_.path(); }
  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  /// UserError(bad_input) when the file has no such tensor.
  const StoredTensor& at(std::string_view name) const;
  /// MappedFile::release_pages().
  void release_pages() const noexcept { file_.release_pages(); }
  /// The header's "__metadata__"; empty when there is none.
  const TextMap& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  TextMap metadata_;
};

struct TensorSpec {
  std::string name;
  DType dtype;
  Shape shape;
  bool is_signed = false;  ///< of u8: signed numbers ("I8")
};

/// What a file with these tensors begins with, in this order and without gaps: eight bytes of length and the
/// header. The tensors' bytes follow.
std::string safetensors_head(const std::vector<TensorSpec>& tensors, const TextMap& metadata = {});

/// Writes the header at once and the tensors as they come, in the order of the specs. The file appears at
/// commit(), whole; without it nothing stays behind. Errors of the disk as AtomicFileWriter's.
class SafetensorsWriter {
 public:
  /// Names must be distinct (CHECK). Readers that want aligned elements get them when wider dtypes come
  /// first.
  SafetensorsWriter(std::string path, std::vector<TensorSpec> tensors, const TextMap& metadata = {});

  /// The next bytes of the tensor `name`, which may come in several parts. CHECKs the order and the sizes.
  void write(std::string_view name, std::span<const std::byte> bytes);
  /// CHECKs that every tensor is complete; then as AtomicFileWriter::commit.
  void commit();

 private:
  void skip_complete();

  AtomicFileWriter file_;
  std::vector<TensorSpec> tensors_;
  size_t current_ = 0;   // tensor being written
  int64_t written_ = 0;  // bytes of it
};

}  // namespace trireme
