// Signals by which a process dies of its own fault.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace trireme::watch {

struct Crash {
  std::string error;  ///< "segmentation fault (SIGSEGV) at address 0x10", or of what it died uncaught
  int signal = 0;
  int64_t thread = 0;
  std::vector<std::string> frames;  ///< innermost first
};

/// While it lives SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and std::terminate() are noted: the handler, on a
/// stack of its own, writes down what happened and wakes the watchdog, which does what a handler may not; it
/// waits for that, three seconds at most, and then lets the process die as it would have. One per process,
/// made by the main thread.
class CrashSignals {
 public:
  /// A byte is sent to `wake`, a socket, when there is something to take.
  explicit CrashSignals(int wake);
  ~CrashSignals();
  CrashSignals(const CrashSignals&) = delete;
  CrashSignals& operator=(const CrashSignals&) = delete;

  /// Of the watchdog: whether the process has crashed, and what is known of it.
  static bool take(Crash& crash);
  /// It is written down: the process may die.
  static void release();
};

}  // namespace trireme::watch
