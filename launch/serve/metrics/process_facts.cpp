#include "launch/serve/metrics/process_facts.h"

#include <unistd.h>

#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace trireme::launch {

namespace {

/// Seconds since 1970 when the machine started.
double machine_start() {
  std::ifstream in("/proc/stat");
  double seconds = 0;
  for (std::string word; in >> word;) {
    if (word == "btime" && in >> seconds) return seconds;
    in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace

std::optional<ProcessFacts> process_facts() {
  std::ifstream in("/proc/self/stat");
  std::string line;
  std::getline(in, line);
  // The second field, a name in parentheses, may have any characters (proc(5)).
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  double user = 0, system = 0, start = 0, virtual_bytes = 0, pages = 0;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  fields >> user >> system;
  for (int field = 16; field < 22; ++field) fields >> skipped;
  if (!(fields >> start >> virtual_bytes >> pages)) return std::nullopt;
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  return ProcessFacts{pages * static_cast<double>(::sysconf(_SC_PAGESIZE)), machine_start() + start / ticks,
                      (user + system) / ticks};
}

}  // namespace trireme::launch
