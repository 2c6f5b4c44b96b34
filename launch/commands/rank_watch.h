// The watchdog of this process, for the commands that train.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "launch/config/run_config.h"
#include "runtime/base/error.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/watch/watchdog.h"

namespace trireme {
class MpiEnvironment;
}

namespace trireme::launch {

class RunLog;

/// One a process; it lives longer than MPI, so that ranks in their teardown are watched too. It ends the
/// process, or the job by MPI.
class RankWatch {
 public:
  /// What it says goes to standard error and to `log`, in whose folder its files are.
  explicit RankWatch(const RunLog* log) : log_(log) {}
  ~RankWatch() { leave(); }

  /// Begins to watch the ranks of `world`; every one of them calls it. `mpi` null: this process is alone.
  /// Does nothing where it watches already. Errors of watch::meet().
  void start(const RunOptions& run, const MpiEnvironment* mpi, Communicator& world,
             std::shared_ptr<Recorder> recorder);
  /// Watchdog::fail(). Does nothing where nothing is watched.
  void fail(const std::string& message, ExitCode code) noexcept;
  /// After the last line of the command: what follows is teardown.
  void enter_teardown() noexcept;
  void leave() noexcept;

 private:
  const RunLog* log_;
  std::shared_ptr<Recorder> recorder_;
  std::optional<watch::Watchdog> watchdog_;
};

}  // namespace trireme::launch
