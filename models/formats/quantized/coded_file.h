// Writes a safetensors file of which what it holds is known only as it comes.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/io/files/atomic_file.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

/// Room for the header is kept at the beginning. Elements are aligned: a tensor whose bytes are no multiple
/// of 8 waits, in memory, for the end. The file appears at commit(), whole; errors of the disk as
/// AtomicFileWriter's.
class CodedFileWriter {
 public:
  /// `most`: every tensor that may come, of the widest type and largest shape that it may have.
  CodedFileWriter(const std::string& path, const std::vector<TensorSpec>& most, TextMap metadata);

  /// CHECKs that the bytes are the spec's.
  void add(const TensorSpec& spec, std::span<const std::byte> bytes);
  void commit();

  const std::vector<TensorSpec>& written() const { return written_; }

 private:
  void put(const TensorSpec& spec, std::span<const std::byte> bytes);

  AtomicFileWriter file_;
  TextMap metadata_;
  size_t room_;
  std::vector<TensorSpec> written_;
  std::vector<std::pair<TensorSpec, std::vector<std::byte>>> waiting_;
};

}  // namespace trireme
