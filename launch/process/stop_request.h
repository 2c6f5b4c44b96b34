// Signals (Ctrl-C, TERM, USR1, USR2) as requests to save and stop.
#pragma once

#include <functional>
#include <string>

#include "runtime/base/error.h"

namespace trireme::launch {

/// Ends the job at once, on all ranks; does not return. Called with the signal's number on a thread that may
/// do anything.
using EndAtStart = std::function<void(int)>;

/// SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 while one of these lives. Until defer() the first of them leads to a
/// call of `end`: there is nothing to save then, and ranks may wait for each other anywhere. Without `end`
/// the first two end the process as ever, but rank 0 says that nothing is saved; the others, by which
/// schedulers announce that a job's time is over, are noted. After defer() the first of all is noted, to be
/// asked for between steps. A second one ends the process at once, whenever it comes. Before and afterwards
/// they do what they did. Writing to a pipe whose reader has gone is an error and no signal meanwhile. Of
/// several that live at a time, as of ranks that are threads, the first decides, and they share what they
/// note.
class StopRequest {
 public:
  explicit StopRequest(int rank, EndAtStart end = {});
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// No call of `end` begins from here on.
  static void defer();
  /// The signal that came first; 0: none.
  static int signal() noexcept;
  /// The signal is dealt with: the next one is the first again.
  static void forget() noexcept;
};

/// "SIGTERM".
std::string signal_name(int signal);

/// 128 + signal, as shells say it.
ExitCode exit_code_of_signal(int signal);

/// For a process that ends because of a signal: a launcher may pass the same on to it late.
void ignore_late_requests();

/// What a process does before anything else, while it has one thread: these signals go to a thread that
/// does nothing else, since a handler's frame on the stack of one that computes may overwrite its data (with
/// `holds` it takes them from the first StopRequest on, or after ten seconds without one);
/// descriptors 0 to 2 that are closed are opened on /dev/null, so that no file becomes standard output by its
/// number, and files beyond a limit of their size are an error of the write, not the end of the process.
void prepare_process(bool holds);

}  // namespace trireme::launch
