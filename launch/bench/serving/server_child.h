// ServerChild: a server that is started for a measurement, and ended after it.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "runtime/io/files/file.h"

namespace trireme::launch {

class ServerChild {
 public:
  /// Starts the command and waits until it prints "listening on URL". All that it prints goes to standard
  /// error. It is sent TERM when this process dies, however it does. EnvironmentError where it cannot be
  /// started or does not listen within so many seconds; where it ends, UserError with its exit code.
  ServerChild(std::vector<std::string> command, double seconds);
  /// Kills it if it still runs.
  ~ServerChild();
  ServerChild(const ServerChild&) = delete;
  ServerChild& operator=(const ServerChild&) = delete;

  const std::string& url() const { return url_; }
  /// TERM, then waits; its exit code, 128 + N where signal N ended it. Killed after so many seconds.
  int stop(double seconds);

 private:
  void start(std::vector<std::string>& command);
  /// Passes on what comes within a twentieth of a second; false: it prints no more.
  bool pass_on();
  int wait_for_end(double seconds);

  pid_t child_ = -1;
  FileDescriptor printed_;
  std::string line_, url_;
  std::jthread passes_on_;
};

}  // namespace trireme::launch
