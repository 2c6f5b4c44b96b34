// The manifest of a checkpoint: what state it is, which files it has, and where each slice lies in them.
// docs/checkpoints.md states the format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "parallel/checkpoint/format/proof_hash.h"
#include "parallel/checkpoint/format/slice.h"
#include "parallel/checkpoint/format/training_state.h"
#include "runtime/io/digest/xxh3.h"

namespace trireme {

/// Of the format: a program reads all versions up to its own.
inline constexpr int64_t kCheckpointVersion = 1;
inline constexpr const char* kManifestName = "manifest.json";

/// A safetensors file of the checkpoint.
struct StoredFile {
  std::string name;  ///< in the checkpoint's directory
  int64_t bytes = 0;
  int64_t head_bytes = 0;  ///< before the tensors
  Hash128 head;            ///< of these

  friend bool operator==(const StoredFile&, const StoredFile&) = default;
};

struct StoredSlice {
  Slice slice;
  size_t file = 0;    ///< index in `files`
  int64_t begin = 0;  ///< of its bytes in the file
  Hash128 hash;       ///< of its bytes

  friend bool operator==(const StoredSlice&, const StoredSlice&) = default;
};

struct StoredFiles {
  std::vector<StoredFile> files;
  std::vector<StoredSlice> slices;

  friend bool operator==(const StoredFiles&, const StoredFiles&) = default;
};

struct Manifest {
  TrainingState state;
  ProofHash proof;
  StoredFiles stored;
};

/// The text of the file.
std::string manifest_text(const Manifest& manifest);
/// The manifest that the text is. UserError (checkpoint) naming `path` and the key for: text that seal_json()
/// did not make, a version above kCheckpointVersion, members that are missing, unknown or of another type,
/// numbers out of their range, files outside the directory, and what check_stored() refuses.
Manifest parse_manifest(const std::string& text, const std::string& path);

/// What one rank has written, as it tells the rank that writes the manifest. Same errors, but for tensors
/// that are not whole.
nlohmann::json to_json(const StoredFiles& stored);
StoredFiles stored_from_json(const nlohmann::json& value, const std::string& path);

/// UserError (checkpoint) naming `path` and the tensor or file unless the slices of each file are its bytes
/// after the head, each byte once, and those of each tensor are its elements, each element once. Takes time
/// that grows with the number of slices alone.
void check_stored(const StoredFiles& stored, const std::string& path);

/// The parts of ranks as one.
StoredFiles joined(const std::vector<StoredFiles>& parts);

}  // namespace trireme
