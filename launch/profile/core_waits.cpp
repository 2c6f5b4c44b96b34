#include "launch/profile/core_waits.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/parallel_for.h"

namespace trireme::launch {

namespace {

constexpr double kGone = -1;

// Nanoseconds: those on a core, those in the queue for one; then the number of time slices.
double seconds_queued(int file) {
  std::array<char, 128> text{};
  const ssize_t length = ::pread(file, text.data(), text.size(), 0);
  if (length <= 0) return kGone;
  const char *end = text.data() + length, *second = std::find(std::as_const(text).data(), end, ' ');
  uint64_t nanoseconds = 0;
  if (second != end) std::from_chars(second + 1, end, nanoseconds);
  return 1e-9 * static_cast<double>(nanoseconds);
}

}  // namespace

CoreWaits::CoreWaits(int num_threads) : num_threads_(num_threads) { find_team(); }

CoreWaits::CoreWaits(std::span<const std::filesystem::path> files) {
  for (const auto& file : files) threads_.push_back(opened(file));
}

CoreWaits::Thread CoreWaits::opened(const std::filesystem::path& file) {
  Thread thread{FileDescriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC))};
  thread.before = seconds_queued(thread.file.get());
  return thread;
}

void CoreWaits::find_team() {
  threads_.clear();
  threads_.resize(static_cast<size_t>(num_threads_));
  parallel_for(num_threads_, num_threads_, 1, [&](int64_t part, int64_t) {
    threads_[static_cast<size_t>(part)] = opened("/proc/thread-self/schedstat");
  });
}

double CoreWaits::take() {
  double longest = 0;
  bool has_ended = false;
  for (Thread& thread : threads_) {
    const double now = seconds_queued(thread.file.get());
    if (now != kGone && thread.before != kGone) longest = std::max(longest, now - thread.before);
    has_ended = has_ended || (now == kGone && thread.before != kGone);
    thread.before = now;
  }
  if (has_ended && num_threads_ > 0) find_team();
  return longest;
}

}  // namespace trireme::launch
