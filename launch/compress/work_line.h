// The line that says how far a step is, and when it will be done.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "launch/report/screen.h"

namespace trireme::launch {

/// "int4 | 12 of 48 | layers.3.ffn | 25 % | 40s left"; without the time where nothing is known of it.
std::string work_text(std::string_view step, int64_t done, int64_t total, std::string_view at,
                      double seconds);

/// On a terminal one line that is written over; in a file or pipe a plain line every ten seconds.
class WorkLine {
 public:
  WorkLine(std::FILE* out, bool is_terminal) : out_(out), screen_(out), is_terminal_(is_terminal) {}
  ~WorkLine() { end(); }
  WorkLine(const WorkLine&) = delete;
  WorkLine& operator=(const WorkLine&) = delete;

  void begin(std::string step);
  void show(int64_t done, int64_t total, std::string_view at);
  /// A line of its own.
  void note(std::string_view line);
  void end();

 private:
  using Clock = std::chrono::steady_clock;
  std::FILE* out_;
  Screen screen_;
  bool is_terminal_, is_open_ = false;
  std::string step_;
  Clock::time_point begin_, last_;
  int64_t first_done_ = -1;  // of this attempt
};

}  // namespace trireme::launch
