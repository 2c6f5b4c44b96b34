// Commits a checkpoint atomically: complete on all ranks, or not at all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/base/error.h"
#include "runtime/comm/communicator.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

/// A save that failed, thrown on all ranks with the same words. Checkpoints before it are as they were.
class SaveFailed : public EnvironmentError {
 public:
  explicit SaveFailed(const std::string& message) : EnvironmentError(message, ExitCode::checkpoint) {}
};

struct CommitRequest {
  std::string directory;  ///< in which the checkpoints lie; made where it is missing, its parent is there
  TrainingState state;
  Retention retention;
};

struct Committed {
  std::string path;
  ProofHash proof;                    ///< of the whole state
  std::vector<std::string> warnings;  ///< on the first rank: what went wrong after it counted
};

/// Writes and commits a checkpoint. All ranks call it; `write` makes this rank's files in the directory that
/// it is given, synced. In order, each step of all ranks done before the next begins:
///
///   1. the first rank makes "step-N.tmp";
///   2. every rank writes its files and "part-RANK.json", which says what they hold, and syncs them;
///   3. the first rank reads the parts, checks that every element is there once, writes and syncs the
///      manifest, removes the parts, and syncs the directory;
///   4. it renames "step-N.tmp" to "step-N" (exchanging it for one that is there), and syncs the parent;
///   5. only now it counts: "latest" is written, and old checkpoints go. What fails here is a warning.
///
/// Ranks exchange 48 bytes each, votes of 8 and, where one fails, its message. A failure on any rank up to 4
/// throws SaveFailed on all of them, and the unfinished directory is removed.
Committed commit_checkpoint(FileCalls& calls, Communicator& ranks, const CommitRequest& request,
                            const std::function<WrittenPart(const std::string& directory)>& write);

/// Whether all ranks see one directory, with what the others wrote: to be asked before training. Makes it
/// where it is missing. All ranks call it; UserError (usage) on all of them where it is not so, SaveFailed
/// where it cannot be written.
void check_shared_directory(FileCalls& calls, Communicator& ranks, const std::string& directory);

}  // namespace trireme
