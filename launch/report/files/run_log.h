// RunLog: records the error that ends a run, on whichever rank it happened.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace trireme::launch {

/// The log.txt of a run as every rank knows it. Before there is one nothing is kept. Any thread may call it.
class RunLog {
 public:
  void set_path(std::filesystem::path path) {
    const std::lock_guard lock(mutex_);
    path_ = std::move(path);
  }
  /// Of the run; empty: there is none yet.
  std::string directory() const {
    const std::lock_guard lock(mutex_);
    return path_.parent_path().string();
  }
  /// Adds `line` with one write, if the file is there: on a machine that does not share it, or when it is
  /// gone, there is the screen. Never throws.
  void append(std::string_view line) const noexcept;

 private:
  mutable std::mutex mutex_;
  std::filesystem::path path_;
};

}  // namespace trireme::launch
