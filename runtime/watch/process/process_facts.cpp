#include "runtime/watch/process/process_facts.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace trireme::watch {

namespace {

namespace fs = std::filesystem;

struct Stat {
  std::string name;
  char state = '?';
  int parent = 0;
  int64_t start_time = 0;
};

/// /proc/PID/stat; false: there is no such process.
bool read_stat(int pid, Stat& stat) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  if (!std::getline(file, text)) return false;
  const size_t begin = text.find('('), end = text.rfind(')');
  if (begin == std::string::npos || end == std::string::npos) return false;
  stat.name = text.substr(begin + 1, end - begin - 1);
  std::istringstream rest(text.substr(end + 1));
  std::string skipped;
  rest >> stat.state >> stat.parent;
  for (int field = 5; field < 22; ++field) rest >> skipped;
  rest >> stat.start_time;
  return static_cast<bool>(rest);
}

bool is_launcher(std::string_view name) {
  constexpr std::string_view kNames[] = {"mpirun",          "mpiexec",      "orterun",    "orted",
                                         "prterun",         "prted",        "slurmstepd", "srun",
                                         "hydra_pmi_proxy", "mpiexec.hydra"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

}  // namespace

ProcessState process_state(int pid, int64_t start_time) {
  Stat stat;
  if (!read_stat(pid, stat)) return {};
  const bool is_another = start_time != 0 && stat.start_time != start_time;
  const bool is_over = stat.state == 'Z' || stat.state == 'X' || stat.state == 'x';
  return {!is_another && !is_over, is_another ? '?' : stat.state, stat.start_time};
}

std::string describe(const ProcessState& state) {
  if (!state.is_there) return "it is gone";
  switch (state.state) {
    case 'T':
      return "stopped by a signal";
    case 't':
      return "stopped by a debugger";
    case 'D':
      return "in a call of the kernel that cannot be interrupted";
    case 'R':
      return "running";
    default:
      return "sleeping";
  }
}

std::string memory_events_file() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line, found;
  std::error_code error;
  while (std::getline(groups, line)) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      path = line.substr(second + 1);
    const bool is_second_version = controllers.empty();
    if (!is_second_version && controllers != "memory") continue;
    const std::string root = is_second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const std::string name = is_second_version ? "/memory.events" : "/memory.oom_control";
    for (const std::string& file :
         {root + path + name, root + name, "/sys/fs/cgroup/unified" + path + name}) {
      if (fs::is_regular_file(file, error)) {
        if (found.empty() || !is_second_version) found = file;
        break;
      }
    }
  }
  return found;
}

int64_t memory_kills(const std::string& file) {
  std::ifstream events(file);
  std::string name;
  int64_t number = 0;
  while (events >> name >> number) {
    if (name == "oom_kill") return number;
  }
  return 0;
}

Launcher find_launcher() {
  Launcher launcher;
  Stat stat;
  for (int pid = ::getppid(); pid > 1 && read_stat(pid, stat); pid = stat.parent) {
    if (!is_launcher(stat.name)) continue;
    launcher.pid = pid;
    launcher.name = stat.name;
    launcher.is_of_mpi = stat.name != "slurmstepd" && stat.name != "srun";
    break;
  }
#ifdef SYS_pidfd_open
  if (launcher.pid != 0)
    launcher.handle = FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, launcher.pid, 0)));
#endif
  return launcher;
}

bool kill_process(int pid, int64_t start_time) {
  return process_state(pid, start_time).is_there && ::kill(pid, SIGKILL) == 0;
}

void allow_open_files(int64_t needed) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= static_cast<rlim_t>(needed)) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace trireme::watch
