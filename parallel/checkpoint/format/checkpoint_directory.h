// The checkpoint directory of a run: listing, naming, and removing old checkpoints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

/// "step-00001000": the name of a committed checkpoint. It has this name only when it is whole.
std::string checkpoint_name(int64_t step);
/// The name while it is written, or removed.
std::string unfinished_name(int64_t step);
/// The name of one that was there before another of the same step, where the file system cannot exchange
/// them.
std::string replaced_name(int64_t step);
/// A file that names the newest: for people and scripts, never trusted.
inline constexpr const char* kLatestName = "latest";
/// "step-00001000 1\n": the checkpoint that runs resumed from last, and how many did. A commit removes it.
inline constexpr const char* kResumedName = "resumed";

/// The steps of which the directory has a committed checkpoint, the newest first; none where there is no such
/// directory. EnvironmentError where it cannot be read.
std::vector<int64_t> checkpoint_steps(const std::string& directory);

/// Which checkpoints stay.
struct Retention {
  int64_t keep = 3;                  ///< of the newest; at least 1
  int64_t keep_every = 0;            ///< multiples of it stay forever; 0: none do
  std::optional<int64_t> best = {};  ///< stays until another is the best
};

/// Which of these steps (in any order) go, the oldest first. The newest never goes.
std::vector<int64_t> steps_to_remove(std::vector<int64_t> steps, const Retention& retention);

/// Removes a committed checkpoint: it loses its name first, so that a half of it never counts.
void remove_checkpoint(FileCalls& calls, const std::string& directory, int64_t step);

/// Renames a committed checkpoint so that no run resumes from it unless it is named: what it is called then.
/// One that was set aside before under that name goes.
std::string set_aside(FileCalls& calls, const std::string& directory, int64_t step);

/// Removes what attempts that died have left; gives one that was being replaced its name back where its
/// successor has not got it. To be called by who holds the lock of the run.
void remove_unfinished(FileCalls& calls, const std::string& directory);

/// The manifest of the checkpoint in `path`, every file of which is there and as long as stated. UserError
/// (checkpoint) naming the file otherwise, and parse_manifest's.
Manifest read_manifest(const std::string& path);

/// What is wrong with a checkpoint, bit for bit: "FILE: tensor NAME ...", empty where nothing is. Reads all
/// of it. `proof`: whether to compute the proof hash too, and compare.
std::vector<std::string> find_damage(const std::string& path, bool proof);

}  // namespace trireme
