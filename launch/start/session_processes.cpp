#include "launch/start/session_processes.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

pid_t number_of_process(const fs::path& entry) {
  const std::string name = entry.filename().string();
  const bool is_number =
      !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
  return is_number ? static_cast<pid_t>(std::atol(name.c_str())) : 0;
}

/// The session of a process that lives; 0: there is none.
pid_t session_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  char state = 0;
  pid_t parent = 0, group = 0, session = 0;
  fields >> state >> parent >> group >> session;
  return state == 'Z' || state == 'X' ? 0 : session;
}

template <class Holds>
std::vector<pid_t> processes_that(const Holds& holds) {
  std::vector<pid_t> found;
  std::error_code error;
  fs::directory_iterator it("/proc", error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    const pid_t process = number_of_process(it->path());
    if (process > 0 && holds(process)) found.push_back(process);
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace

std::vector<pid_t> processes_of_session(pid_t session) {
  return processes_that([&](pid_t process) { return session_of(process) == session; });
}

std::vector<pid_t> processes_with(const std::string& variable) {
  return processes_that([&](pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/environ", process));
    for (std::string one; std::getline(file, one, '\0');) {
      if (one == variable) return session_of(process) != 0;
    }
    return false;
  });
}

bool runs_program(pid_t process, const std::string& program) {
  if (program.empty()) return true;
  std::error_code error;
  return fs::equivalent(fmt::format("/proc/{}/exe", process), program, error) && !error;
}

bool takes_signal(pid_t process, int signal) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("SigBlk:") && !line.starts_with("SigCgt:")) continue;
    const uint64_t mask = std::strtoull(line.c_str() + 7, nullptr, 16);
    if ((mask >> (signal - 1) & 1) != 0) return true;
  }
  return false;
}

}  // namespace trireme::launch
