#include "launch/start/physical_cores.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <sched.h>

namespace trireme::launch {

std::vector<int> parse_cpu_list(const std::string& list) {
  std::vector<int> cpus;
  std::string_view rest = list;
  const auto number = [&](int& value) {
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    return error == std::errc();
  };
  while (!rest.empty()) {
    int first = 0, last = 0;
    if (!number(first)) break;
    last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      if (!number(last)) break;
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (!rest.starts_with(',')) break;
    rest.remove_prefix(1);
  }
  return cpus;
}

int num_physical_cores(const std::string& sysfs) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (::sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  std::set<int> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    std::ifstream file(fmt::format("{}/cpu{}/topology/thread_siblings_list", sysfs, cpu));
    std::string line;
    std::getline(file, line);
    const std::vector<int> siblings = parse_cpu_list(line);
    cores.insert(siblings.empty() ? cpu : *std::ranges::min_element(siblings));
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace trireme::launch
