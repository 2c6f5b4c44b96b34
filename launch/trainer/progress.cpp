#include "launch/trainer/progress.h"

#include <cmath>

#include <fmt/format.h>
#include <unistd.h>

#include "launch/trainer/number_text.h"
#include "runtime/base/error.h"

namespace trireme {

std::string step_line(const StepMetrics& m, int64_t total_steps, double eta_seconds) {
  std::string line = fmt::format(
      "step {}/{} | loss {:.4f} | gnorm {:.2f} | lr {:.2e} | {:.{}f} ms | {} tok/s | {:.2f} TFLOP/s | MFU "
      "{:.0f}% | mem {} ({} reserved) | "
      "eta {}",
      m.step, total_steps, m.loss, m.grad_norm, m.lr, m.step_ms, m.step_ms < 10 ? 1 : 0, short_count(m.tok_s),
      m.tflops, 100 * m.mfu, short_bytes(static_cast<double>(m.mem_bytes)),
      short_bytes(static_cast<double>(m.reserved_bytes)), short_duration(eta_seconds));
  if (!m.routers.empty()) line += " | " + load_field(m.routers);
  if (m.loss_scale != 1) line += fmt::format(" | scale {}", m.loss_scale);
  if (m.skips > 0) line += fmt::format(" | skips {}{}", m.skips, m.skipped ? " (this step)" : "");
  const auto add_outlier = [&](const char* name, const std::optional<double>& z) {
    if (z && std::abs(*z) >= kOutlier) line += fmt::format(" | {} z {:+.1f}", name, *z);
  };
  add_outlier("loss", m.loss_z);
  add_outlier("gnorm", m.grad_norm_z);
  return line;
}

std::string evaluation_line(const StepMetrics& m, int64_t total_steps) {
  TRIREME_CHECK(m.val_loss.has_value());
  return fmt::format("step {}/{} | val loss {:.4f}", m.step, total_steps, *m.val_loss);
}

bool is_watched(std::FILE* out) {
  // mpirun gives ranks a pseudo-terminal as standard output, but pipes as standard error.
  return ::isatty(::fileno(out)) != 0 && ::isatty(STDERR_FILENO) != 0;
}

Progress::Progress(std::FILE* out, bool is_terminal, int64_t total_steps, int64_t log_every, LogLine log)
    : out_(out),
      is_terminal_(is_terminal),
      total_steps_(total_steps),
      log_every_(log_every),
      log_(std::move(log)) {}

Progress::~Progress() { end_open_line(); }

void Progress::step(const StepMetrics& metrics) {
  // Follows a change of speed within some twenty steps.
  mean_step_ms_ = mean_step_ms_ == 0 ? metrics.step_ms : 0.95 * mean_step_ms_ + 0.05 * metrics.step_ms;
  const double left = static_cast<double>(total_steps_ - metrics.step);
  const std::string line = step_line(metrics, total_steps_, left * mean_step_ms_ / 1000);
  const bool is_due = metrics.step % log_every_ == 0 || metrics.step == total_steps_;
  if (is_due && log_) log_(line);
  if (is_terminal_) {
    fmt::print(out_, "\r{}\x1b[K", line);  // the escape erases what a longer line left behind
    is_line_open_ = true;
  } else if (is_due) {
    fmt::print(out_, "{}\n", line);
  }
  std::fflush(out_);
}

void Progress::evaluation(const StepMetrics& metrics) { note(evaluation_line(metrics, total_steps_)); }

void Progress::note(std::string_view line) {
  end_open_line();
  if (log_) log_(line);
  fmt::print(out_, "{}\n", line);
  std::fflush(out_);
}

void Progress::end_open_line() {
  if (!is_line_open_) return;
  std::fputc('\n', out_);
  is_line_open_ = false;
}

}  // namespace trireme
