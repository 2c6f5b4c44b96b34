// Standard output of a run, whose errors do not end the run.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace trireme::launch {

class Screen {
 public:
  /// `out` outlives this object.
  explicit Screen(std::FILE* out) : out_(out) {}

  /// Hands over all of `text`. Where that fails (a full disk, a reader that has gone) it is noted, and
  /// nothing is printed from then on. Waits for a pipe that is full, but not once a StopRequest has its
  /// signal.
  void print(std::string_view text) noexcept;

  /// Why nothing is printed any more, in the system's words; empty: all is well.
  const std::string& failure() const { return failure_; }

 private:
  std::FILE* out_;
  std::string failure_;
};

}  // namespace trireme::launch
