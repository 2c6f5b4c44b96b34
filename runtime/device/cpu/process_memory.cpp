#include "runtime/device/cpu/process_memory.h"

#include <charconv>
#include <fstream>
#include <string>

#include <malloc.h>
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

void return_free_memory() { ::malloc_trim(0); }

}  // namespace trireme::cpu
