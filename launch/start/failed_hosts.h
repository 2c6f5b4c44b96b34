// The list of hosts on which ranks failed: for schedulers to leave out.
#pragma once

#include <string>
#include <vector>

namespace trireme::launch {

/// Whether the end of a job may be a host's fault: a hang (6), memory, disk or device (7), a signal that
/// nobody has asked for, or a rank that by its launcher's words (`cause`) did not end by itself. Others would
/// come again anywhere.
bool may_be_of_host(int code, const std::string& cause);

/// Adds "HOST TIME job ID exit CODE rank RANK CAUSE" to the file. EnvironmentError where it cannot be
/// written.
struct FailedHost {
  std::string host;
  std::string job;  ///< of the scheduler; empty: none
  int code = 0;
  int rank = -1;
  std::string cause;
};
void add_failed_host(const std::string& path, const FailedHost& failed);

/// The hosts of the file, each once, in the order in which they failed last; none where there is no file. A
/// line that is taken out of it lets its host take part again.
std::vector<std::string> read_failed_hosts(const std::string& path);

}  // namespace trireme::launch
