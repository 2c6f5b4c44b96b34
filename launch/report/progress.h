// Progress: step lines and notes that rank 0 prints during a run.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "launch/report/screen.h"
#include "launch/report/step_metrics.h"

namespace trireme::launch {

/// "step 10/2000 | loss 4.1234 | gnorm 1.83 | lr 6.00e-04 | 123 ms | 40.3k tok/s | 0.31 TFLOP/s | MFU 22% |
/// mem 310 MiB (352 MiB reserved) | eta 3m" (the most in use, and taken from the device; MFU 22%? where
/// that is not sure), and after it,
/// where they say something: the load of experts (load_field), the loss scale, skipped steps, and loss or
/// norm that lie kOutlier standard deviations or more from the steps before.
inline constexpr double kOutlier = 4;
std::string step_line(const StepMetrics& metrics, int64_t total_steps, double eta_seconds);
/// The same in at most `columns` characters: fields that say less are left out first (memory, TFLOP/s, lr,
/// milliseconds, MFU, norm, eta), step and loss last.
std::string step_line(const StepMetrics& metrics, int64_t total_steps, double eta_seconds, size_t columns);
/// "step 250/2000 | val loss 1.8912"; "no token to evaluate" where the mean is none.
std::string evaluation_line(const StepMetrics& metrics, int64_t total_steps);

/// True when people watch `out` on a terminal. Under mpirun it is false: there standard output is a terminal
/// of mpirun's own, wherever that sends it.
bool is_watched(std::FILE* out);
/// Of the terminal that `out` is now, less one where the cursor stays; 79 where it does not say.
size_t usable_columns(std::FILE* out);

/// On a terminal one line that is written over; in a file or pipe a plain line every `log_every` steps and at
/// the end.
class Progress {
 public:
  using LogLine = std::function<void(std::string_view)>;

  /// `log` (may be empty) gets the plain lines, also where a terminal shows the other kind.
  Progress(std::FILE* out, bool is_terminal, int64_t total_steps, int64_t log_every, LogLine log);
  /// Leaves the cursor on a line of its own.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(const StepMetrics& metrics);
  /// Needs metrics.val_loss.
  void evaluation(const StepMetrics& metrics);
  /// A line of its own, between steps.
  void note(std::string_view line);
  /// During an evaluation: after two seconds, on a terminal twice a second in the line that is written
  /// over, elsewhere a plain line a minute. begin_evaluation() starts its clock.
  void begin_evaluation();
  void evaluating(int64_t samples_done, int64_t samples);

  /// Why standard output takes no more; empty: it does. Said in the log too. Nothing else depends on it.
  const std::string& failure() const { return screen_.failure(); }

 private:
  using Clock = std::chrono::steady_clock;
  void end_open_line();
  void print(std::string_view text);
  void rewrite_line(std::string_view line);

  std::FILE* out_;
  Screen screen_;
  Clock::time_point evaluation_begin_, last_word_;
  bool is_terminal_;
  int64_t total_steps_;
  int64_t log_every_;
  LogLine log_;
  double mean_step_ms_ = 0;
  bool is_line_open_ = false;
};

}  // namespace trireme::launch
