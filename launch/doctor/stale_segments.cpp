#include "launch/doctor/stale_segments.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <set>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// A file whatever its names.
using FileId = std::pair<dev_t, ino_t>;

/// Adds the files that a process has mapped. A line of maps: addresses, rights, offset, device as "00:1a",
/// inode, path.
void add_mapped(const fs::path& process, std::set<FileId>& used) {
  std::ifstream maps(process / "maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned device_major = 0, device_minor = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(), "%*s %*s %*s %x:%x %lu", &device_major, &device_minor, &inode) == 3 &&
        inode != 0)
      used.emplace(makedev(device_major, device_minor), inode);
  }
}

void add_open(const fs::path& process, std::set<FileId>& used) {
  std::error_code error;
  for (fs::directory_iterator it(process / "fd", error), end; !error && it != end; it.increment(error)) {
    struct stat status {};
    if (::stat(it->path().c_str(), &status) == 0) used.emplace(status.st_dev, status.st_ino);
  }
}

std::set<FileId> files_in_use(const fs::path& proc) {
  std::set<FileId> used;
  std::error_code error;
  for (fs::directory_iterator it(proc, error), end; !error && it != end; it.increment(error)) {
    if (!is_number(it->path().filename().string())) continue;
    add_mapped(it->path(), used);
    add_open(it->path(), used);
  }
  return used;
}

}  // namespace

bool is_segment_name(std::string_view name) {
  static constexpr std::string_view kBegins[] = {"vader_segment", "sm_segment", "psm2_shm",    "psm3_shm",
                                                 "nccl-",         "sem.",       "mpich_shar_", "ucx_shm"};
  return std::ranges::any_of(kBegins, [&](std::string_view begin) { return name.starts_with(begin); });
}

std::vector<StaleSegment> stale_segments(const fs::path& folder, const fs::path& proc) {
  struct Candidate {
    StaleSegment segment;
    FileId id;
  };
  std::vector<Candidate> candidates;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    struct stat status {};
    if (!is_segment_name(it->path().filename().string()) || ::lstat(it->path().c_str(), &status) != 0)
      continue;
    const bool may_judge = ::geteuid() == 0 || status.st_uid == ::geteuid();
    if (!S_ISREG(status.st_mode) || !may_judge) continue;
    candidates.push_back({{it->path().string(), status.st_size, std::time(nullptr) - status.st_mtime},
                          {status.st_dev, status.st_ino}});
  }
  if (candidates.empty()) return {};
  const std::set<FileId> used = files_in_use(proc);
  std::vector<StaleSegment> stale;
  for (const Candidate& candidate : candidates) {
    // One that went meanwhile was its process's to remove.
    if (!used.contains(candidate.id) && fs::exists(candidate.segment.path, error))
      stale.push_back(candidate.segment);
  }
  std::ranges::sort(stale, {}, &StaleSegment::path);
  return stale;
}

}  // namespace trireme::launch
