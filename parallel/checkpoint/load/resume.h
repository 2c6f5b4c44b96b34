// Finds the checkpoint to resume from: the newest that is intact, the same on all ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/format/manifest.h"
#include "runtime/comm/communicator.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

/// checkpoint_steps() of the first rank, on all of them. All ranks call it; what the first throws all do.
std::vector<int64_t> agreed_steps(Communicator& ranks, const std::string& directory);

/// read_manifest() on all ranks, which all call it: UserError (checkpoint), the same on all, where one of
/// them cannot read it or reads another than the first.
Manifest read_manifest_together(Communicator& ranks, const std::string& path);

struct Resumed {
  std::string path;
  Manifest manifest;
  int64_t resumes_before = 0;  ///< runs that went on from it and have not come to the next, as noted
};

/// Loads a checkpoint; throws a UserError (checkpoint) on all ranks or on none (as load_slices does).
using LoadCheckpoint = std::function<void(const std::string& path, const Manifest& manifest)>;

/// So many runs may resume from a checkpoint without coming to the next.
inline constexpr int64_t kMostResumes = 2;

/// Notes how many runs have resumed from the checkpoint of a step; the next commit takes the note away. On
/// one rank. EnvironmentError where it cannot be written.
void note_resumes(FileCalls& calls, const std::string& directory, int64_t step, int64_t number);
/// Loads the newest of `steps` (the newest first) that can be loaded, on all ranks alike. Skipped, with a
/// warning on all ranks each, are those that are damaged and, where there is one before it, the one that
/// kMostResumes runs resumed from in vain. Nothing where none is left. All ranks call it.
std::optional<Resumed> load_newest(Communicator& ranks, const std::string& directory,
                                   const std::vector<int64_t>& steps, const LoadCheckpoint& load,
                                   std::vector<std::string>& warnings);

}  // namespace trireme
