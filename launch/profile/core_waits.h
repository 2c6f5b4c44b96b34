// Time in which a rank's threads wait for cores, because of other processes or a quota.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "runtime/io/files/file.h"

namespace trireme::launch {

/// Of a thread and its OpenMP team, as the kernel counts it (schedstat): time in which they could have run
/// and did not. Where the kernel does not say, none.
class CoreWaits {
 public:
  /// Of the calling thread, which makes all calls, and its team.
  explicit CoreWaits(int num_threads);
  /// Of threads whose files these are.
  explicit CoreWaits(std::span<const std::filesystem::path> files);

  /// Seconds since the last call, or since it was made, of the thread that has waited longest. Threads of the
  /// team that are new count from now on.
  double take();

 private:
  struct Thread {
    FileDescriptor file;
    double before = 0;
  };
  static Thread opened(const std::filesystem::path& file);
  void find_team();

  int num_threads_ = 0;
  std::vector<Thread> threads_;
};

}  // namespace trireme::launch
