#include "launch/start/failed_hosts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

std::string time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace

bool may_be_of_host(int code, const std::string& cause) {
  const bool was_ended = !cause.empty() && !cause.starts_with("Exited");
  return was_ended || code == static_cast<int>(ExitCode::hang) ||
         code == static_cast<int>(ExitCode::resources) || code >= 128;
}

void add_failed_host(const std::string& path, const FailedHost& failed) {
  const std::string line = fmt::format("{} {} job {} exit {} rank {} {}\n", failed.host, time_text(),
                                       failed.job.empty() ? "-" : failed.job, failed.code, failed.rank,
                                       failed.cause.empty() ? "-" : failed.cause);
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  // One call a line: other jobs may add to the list, too.
  if (file.get() < 0 || ::write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw_environment("cannot add {} to {}: {}", failed.host, path, std::strerror(errno));
}

std::vector<std::string> read_failed_hosts(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  std::vector<std::string> hosts;
  std::istringstream lines(read_text_file(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string host;
    if (!(words >> host) || host.starts_with('#')) continue;
    std::erase(hosts, host);
    hosts.push_back(host);
  }
  return hosts;
}

}  // namespace trireme::launch
