#include "launch/preflight/available_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "runtime/device/cuda/cuda_device.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// The number in a file; nothing for "max" or where there is none.
std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;
}

/// The number after `key` in a file of lines "key number".
std::optional<int64_t> number_behind(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first;
    int64_t number = 0;
    if (words >> first >> number && first == key) return number;
  }
  return std::nullopt;
}

struct Hierarchy {
  fs::path mount;
  std::string limit, usage, cache;  ///< file names; a key of memory.stat
};

/// Lowers `least` to what is left in the group `path` and those above it.
void look_at(const Hierarchy& h, fs::path path, AvailableMemory& least) {
  for (;; path = path.parent_path()) {
    const fs::path folder = h.mount / path.relative_path();
    const auto limit = number_in(folder / h.limit), usage = number_in(folder / h.usage);
    if (limit && usage) {
      // Pages of files that nobody uses give way.
      const int64_t cache = number_behind(folder / "memory.stat", h.cache).value_or(0);
      const int64_t left = std::max<int64_t>(1, *limit - std::max<int64_t>(0, *usage - cache));
      if (least.bytes == 0 || left < least.bytes)
        least = {left, fmt::format("the control group {}", path.string())};
    }
    if (!path.has_relative_path()) return;
  }
}

}  // namespace

AvailableMemory available_host_memory(const fs::path& root) {
  AvailableMemory least;
  if (const auto kib = number_behind(root / "proc/meminfo", "MemAvailable:")) {
    least = {std::max<int64_t>(1, *kib * 1024), "this machine"};
  }
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path", or "7:cpu,memory:/path" of version 1
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const fs::path path = line.substr(second + 1);
    if (controllers == ",,") {
      look_at({root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"}, path, least);
    } else if (controllers.find(",memory,") != std::string::npos) {
      look_at({root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
               "total_inactive_file"},
              path, least);
    }
  }
  return least;
}

AvailableMemory available_memory(Device device) {
  if (device.type == DeviceType::cuda) return {cuda::device_info(device.index).bytes, "the device"};
  return available_host_memory();
}

}  // namespace trireme::launch
