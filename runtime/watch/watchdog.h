// Watchdog: a thread of each rank that sees when the job cannot go on, says who is to blame, and ends it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/io/files/file.h"
#include "runtime/watch/channel/roster.h"
#include "runtime/watch/hang_limits.h"

namespace trireme::watch {

struct WatchOptions {
  HangLimits limits;
  /// The directory of the run, for files; empty: none yet. Of any thread, as all of these.
  std::function<std::string()> directory = [] { return std::string(); };
  /// Puts whole lines on the screen, and into the log where there is one.
  std::function<void(const std::string& lines)> say;
  /// Ends this process, and where it `leads` the job too, with the code; does not wait. That of the job is
  /// followed, two seconds later, by that of the process alone, unless the first one was enough.
  std::function<void(ExitCode code, bool leads)> end;
  /// Somebody has asked the run to stop: processes that are killed then are no surprise.
  std::function<bool()> is_stopping = [] { return false; };
  bool is_launched = false;      ///< by a launcher, without which the job must end
  bool handles_crashes = false;  ///< this process's fatal signals are noted (one watchdog per process)
  std::string ras;               ///< host:port of NCCL's RAS, which is asked where NCCL is used; empty: never
};

/// What a watchdog needs to reach the others; moved into it.
struct WatchPost {
  Roster roster;
  int rank = 0;
  FileDescriptor listener;
};

/// Heartbeats go over TCP sockets of their own to the seats (seats_of()); the first seat that is there
/// judges. The job ends with exit code 6 when a rank has made no progress for the limit of its phase and
/// somebody is to blame for it (judge()); at once when a process is gone; and by itself where no seat
/// answers. Time in which a process was suspended does not count, so that neither a sleeping laptop nor a
/// debugger is a hang.
///
/// Each rank writes DIRECTORY/hang/rank<r>.json with its calls and stacks before the job ends, one that
/// crashes or fails DIRECTORY/crash.rank<r>.json. Processes that do not answer are killed by the watchdogs of
/// their host.
class Watchdog {
 public:
  /// Nothing runs yet.
  explicit Watchdog(WatchOptions options);
  /// leave(), if nobody has.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Begins to watch; `recorder` is read from the watchdog's thread until stop_reading().
  void start(WatchPost post, std::shared_ptr<const Recorder> recorder);
  bool has_started() const { return runner_ != nullptr; }

  /// This rank is about to end the job with an error, which goes to its crash file: what follows is no
  /// surprise to the others, and where it does not end in two seconds it is ended. Safe from any thread;
  /// waits a fraction of a second for the message to leave.
  void fail(const std::string& message, ExitCode code) noexcept;
  /// This rank has done its part: the others will not wait for its heartbeats.
  void leave() noexcept;

 private:
  class Runner;
  WatchOptions options_;
  std::unique_ptr<Runner> runner_;
};

}  // namespace trireme::watch
