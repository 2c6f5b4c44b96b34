#include "runtime/device/cpu/process_memory.h"

#include <charconv>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>

namespace trireme::cpu {

namespace {

/// "VmHWM:     1234 kB".
int64_t bytes_of_line(const std::string& line) {
  const size_t begin = line.find_first_of("0123456789");
  int64_t kilobytes = 0;
  if (begin != std::string::npos) std::from_chars(line.data() + begin, line.data() + line.size(), kilobytes);
  return kilobytes * 1024;
}

struct Mapping {
  uintptr_t begin, end;
};

/// Of files, mapped for reading or executing alone, without a page of the process's own (as the loader makes
/// where it relocates): what they hold can be read from the file again.
std::vector<Mapping> unchanged_mappings() {
  std::vector<Mapping> found;
  Mapping mapping{};
  bool is_of_file = false;
  std::ifstream in("/proc/self/smaps");
  for (std::string line; std::getline(in, line);) {
    // "7f31a0-7f31b4 r-xp 0004000 fe:00 2474 /usr/lib/...", then a line "Key: ..." for each figure.
    const char* const last = line.data() + line.size();
    Mapping next{};
    const auto [dash, error] = std::from_chars(line.data(), last, next.begin, 16);
    if (error == std::errc() && dash != last && *dash == '-') {
      const auto [blank, second_error] = std::from_chars(dash + 1, last, next.end, 16);
      const std::string_view rest(blank, static_cast<size_t>(last - blank));
      is_of_file = second_error == std::errc() && rest.find('/') != std::string_view::npos &&
                   (rest.starts_with(" r-xp ") || rest.starts_with(" r--p "));
      mapping = next;
    } else if (is_of_file && line.starts_with("Anonymous:") && bytes_of_line(line) == 0) {
      found.push_back(mapping);
    }
  }
  return found;
}

}  // namespace

ProcessMemory process_memory() {
  ProcessMemory memory;
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) memory.resident = bytes_of_line(line);
    if (line.starts_with("VmHWM:")) memory.peak = bytes_of_line(line);
  }
  return memory;
}

void keep_memory_small() {
  constexpr int kPiece = 128 << 10;
  ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, kPiece);
  ::mallopt(M_TRIM_THRESHOLD, kPiece);
}

void return_unused_memory() {
  ::malloc_trim(0);
  for (const Mapping& mapping : unchanged_mappings()) {
    // What fails stays resident, and is counted as such.
    ::madvise(reinterpret_cast<void*>(mapping.begin),  // NOLINT(performance-no-int-to-ptr)
              mapping.end - mapping.begin, MADV_DONTNEED);
  }
}

}  // namespace trireme::cpu
