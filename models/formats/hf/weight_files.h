// The safetensors files of a directory of transformers, as one set of tensors.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/formats/mapped_weights.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme::hf {

/// Of an index: its files, and the names of the tensors that it has in each. UserError (bad_input) naming
/// tensor and file for one that is not a .safetensors file of the same directory.
std::map<std::string, std::set<std::string>> indexed_files(const std::string& index);

/// The files with weights: model.safetensors, or those of model.safetensors.index.json. UserError (bad_input)
/// as open_hf_weights().
class WeightFiles {
 public:
  explicit WeightFiles(const std::string& directory);
  /// One file alone.
  static WeightFiles of_file(const std::string& file);

  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  /// MappedFile::release_pages() of all.
  void release_pages() const noexcept {
    for (const auto& file : files_) file->release_pages();
  }
  bool has(std::string_view name) const { return tensors_.contains(name); }

 private:
  WeightFiles() = default;
  void add(const std::string& path);
  void add_indexed(const std::string& directory, const std::string& index);

  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
};

/// UserError (bad_input): the file is pickled, and which command makes safetensors of its directory.
[[noreturn]] void refuse_pickled(const std::string& file);
/// Whether files with this name are pickled weights.
bool is_pickled(std::string_view file);

}  // namespace trireme::hf
