// Restarts of a run that come to nothing: after so many in succession the run is not started again.
#pragma once

#include <cstdint>
#include <string>

namespace trireme::launch {

/// So many restarts in succession may end without a new committed step.
inline constexpr int64_t kMostRestarts = 3;
/// And so many with those that were asked to end before they had a step to commit: preempted at their start,
/// or their time was too short for it.
inline constexpr int64_t kMostWithRequested = 10;

/// What CHECKPOINTS/restarts holds: "step-00001000 2 0\n", or "none 2 0\n".
struct Restarts {
  int64_t step = -1;      ///< the newest that was committed when the first of them began; -1: none
  int64_t number = 0;     ///< that began since, and have committed no later step
  int64_t requested = 0;  ///< and those that were asked to end
};

/// Counts a start of the run in `run_directory` that goes on from what is there. A first start is none: no
/// attempt has left its log there. A step that is newer than the noted one ends the succession, whatever
/// ended the attempt; saving again a step that was there before does not. UserError (no_progress), in one
/// line, where kMostRestarts have begun and nothing newer is there, or kMostWithRequested of both kinds. On
/// one rank, before anything else of the run is read. UserError (usage) where another run holds the
/// directory, EnvironmentError where the note cannot be written.
void count_restart(const std::string& run_directory, const std::string& checkpoints);

/// The start that was counted last is asked to end, and has no new step to commit. A note that cannot be
/// written stays as it is. Any rank may call it, on any thread.
void excuse_restart(const std::string& checkpoints) noexcept;

/// For a start that names its checkpoint: somebody has decided, and the count begins anew.
void forget_restarts(const std::string& checkpoints);

/// The note as it is; nothing noted, or not to be read: a Restarts{}.
Restarts read_restarts(const std::string& checkpoints);

}  // namespace trireme::launch
