#include "runtime/device/cpu/cpu_quota.h"

#include <charconv>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <string>

namespace trireme::cpu {

namespace {

namespace fs = std::filesystem;

/// The number that a file begins with; nothing (0) for "max", -1 or where there is none.
int64_t first_number_in(const fs::path& file, std::string* rest = nullptr) {
  std::ifstream in(file);
  std::string word;
  int64_t number = 0;
  if (!(in >> word)) return 0;
  std::from_chars(word.data(), word.data() + word.size(), number);
  if (rest != nullptr) in >> *rest;
  return number;
}

/// Cores that a folder of version 2 ("50000 100000" in cpu.max) or 1 (a file for each number) grants; 0: all.
double cores_of(const fs::path& folder, bool is_version_2) {
  int64_t quota = 0, period = 0;
  if (is_version_2) {
    std::string word;
    quota = first_number_in(folder / "cpu.max", &word);
    std::from_chars(word.data(), word.data() + word.size(), period);
  } else {
    quota = first_number_in(folder / "cpu.cfs_quota_us");
    period = first_number_in(folder / "cpu.cfs_period_us");
  }
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : 0;
}

/// Lowers `least` to what the group `path` and those above it grant.
void look_at(const fs::path& mount, bool is_version_2, fs::path path, CpuQuota& least) {
  for (;; path = path.parent_path()) {
    const double cores = cores_of(mount / path.relative_path(), is_version_2);
    if (cores > 0 && (least.cores == 0 || cores < least.cores)) least = {cores, path.string()};
    if (!path.has_relative_path()) return;
  }
}

}  // namespace

CpuQuota cpu_quota(const fs::path& root) {
  CpuQuota least;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path", or "7:cpu,cpuacct:/path" of version 1
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path path = line.substr(second + 1);
    if (controllers.empty()) {
      for (const char* mount : {"sys/fs/cgroup", "sys/fs/cgroup/unified"}) {
        look_at(root / mount, true, path, least);
      }
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      // Distributions mount it under its own name, or under all that are mounted with it.
      look_at(root / "sys/fs/cgroup" / controllers, false, path, least);
      if (controllers != "cpu") look_at(root / "sys/fs/cgroup/cpu", false, path, least);
    }
  }
  return least;
}

}  // namespace trireme::cpu
