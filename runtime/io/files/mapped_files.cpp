#include "runtime/io/files/mapped_files.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>

#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace trireme {
namespace {

// A signal handler reaches nothing but globals, and must take no lock.
struct Mapping {
  std::atomic<const char*> path{nullptr};  // null: free
  std::atomic<uintptr_t> begin{0};
  std::atomic<size_t> size{0};
};
std::array<Mapping, 256> mappings;
struct sigaction previous_action;

// snprintf is not for signal handlers.
class Line {
 public:
  Line& operator<<(const char* text) {
    for (; *text != '\0' && used_ < sizeof text_; ++text) text_[used_++] = *text;
    return *this;
  }
  Line& operator<<(uint64_t number) {
    char digits[21];
    char* first = digits + sizeof digits - 1;
    *first = '\0';
    do {
      *--first = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    return *this << first;
  }
  void write() const {
    if (::write(STDERR_FILENO, text_, used_) < 0) return;  // nobody listens
  }

 private:
  char text_[4096 + 512];
  size_t used_ = 0;
};

[[noreturn]] void end_for(const Mapping& mapping, const char* path, uintptr_t address) {
  struct stat now {};
  const bool is_there = ::stat(path, &now) == 0;
  const uint64_t mapped = mapping.size.load(), offset = address - mapping.begin.load();
  const bool is_cut = !is_there || static_cast<uint64_t>(now.st_size) < mapped;
  Line line;
  line << "\ntrireme: error: " << path << ": byte " << offset << " can no longer be read: ";
  if (is_cut) {
    line << "the file had " << mapped << " bytes when it was opened and ";
    if (is_there) {
      line << "has " << static_cast<uint64_t>(now.st_size) << " now";
    } else {
      line << "is gone now";
    }
    line << "; files must not change while a run reads them\n";
  } else {
    line << "the storage below it failed\n";
  }
  line.write();
  ::_exit(static_cast<int>(is_cut ? ExitCode::bad_input : ExitCode::resources));
}

void on_bus_error(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Mapping& mapping : mappings) {
    const char* const path = mapping.path.load();
    const uintptr_t begin = mapping.begin.load();
    if (path != nullptr && address >= begin && address - begin < mapping.size.load())
      end_for(mapping, path, address);
  }
  // The instruction is tried again, now with the action that was there before.
  ::sigaction(signal, &previous_action, nullptr);
}

void install_handler() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, &previous_action);
}

}  // namespace

int note_mapping(const void* address, size_t size, const char* path) {
  static std::once_flag installed;
  std::call_once(installed, install_handler);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  for (size_t slot = 0; slot < mappings.size(); ++slot) {
    Mapping& mapping = mappings[slot];
    if (mapping.path.load() != nullptr) continue;
    mapping.begin = reinterpret_cast<uintptr_t>(address);
    mapping.size = size;
    mapping.path = path;
    return static_cast<int>(slot);
  }
  return -1;
}

void forget_mapping(int slot) noexcept {
  if (slot >= 0) mappings[static_cast<size_t>(slot)].path = nullptr;
}

}  // namespace trireme
