// Tensors of a checkpoint, each put together from its slices: for tools that look at one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/format/proof_hash.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

class WholeTensors {
 public:
  /// Reads the manifest (read_manifest()).
  explicit WholeTensors(std::string path);

  const std::string& path() const { return path_; }
  const Manifest& manifest() const { return manifest_; }
  /// Each as a slice that is the whole tensor, by name.
  const std::map<std::string, Slice, std::less<>>& tensors() const { return tensors_; }
  /// The bytes of one, packed; hashes are checked. UserError (checkpoint) naming file and tensor where it is
  /// damaged.
  std::vector<std::byte> read(std::string_view name) const;

 private:
  std::string path_;
  Manifest manifest_;
  std::map<std::string, Slice, std::less<>> tensors_;
  std::map<std::string, std::vector<size_t>, std::less<>> slices_;  // of each tensor: numbers of the stored
};

/// Writes the weights as a file in the form of a run's model.safetensors: f32, under their names, with the
/// biases of routers. Holds one tensor at a time.
void export_weights(const WholeTensors& from, const std::string& file);

/// Writes the same checkpoint as one rank would have: each tensor in one piece. It becomes
/// `directory`/step-N; holds one tensor at a time. Returns its path.
std::string consolidate(const WholeTensors& from, const std::string& directory);

}  // namespace trireme
