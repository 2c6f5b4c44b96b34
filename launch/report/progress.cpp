#include "launch/report/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "launch/report/number_text.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

struct Field {
  std::string text;
  int rank;  ///< of its importance: 0 stays longest
};

std::vector<Field> step_fields(const StepMetrics& m, int64_t total_steps, double eta_seconds) {
  std::vector<Field> fields = {
      {fmt::format("step {}/{}", m.step, total_steps), 0},
      {fmt::format("loss {:.4f}", m.loss), 1},
      {fmt::format("gnorm {:.2f}", m.grad_norm), 5},
      {fmt::format("lr {:.2e}", m.lr), 8},
      {fmt::format("{:.{}f} ms", m.step_ms, m.step_ms < 10 ? 1 : 0), 7},
      {fmt::format("{} tok/s", short_count(m.tok_s)), 2},
      {fmt::format("{:.2f} TFLOP/s", m.tflops), 9},
      {fmt::format("MFU {:.0f}%{}", 100 * m.mfu, m.is_mfu_sure ? "" : "?"), 6},
      {fmt::format("mem {} ({} reserved)", short_bytes(static_cast<double>(m.mem_bytes)),
                   short_bytes(static_cast<double>(m.reserved_bytes))),
       10},
      {"eta " + short_duration(eta_seconds), 3}};
  constexpr int kUnusual = 4;
  if (m.objective) fields.push_back({fmt::format("objective {:.4f}", *m.objective), 4});
  if (m.zeros) fields.push_back({fmt::format("zeros {:.1f}%", 100 * *m.zeros), 5});
  if (!m.routers.empty()) fields.push_back({load_field(m.routers), 6});
  if (m.breakdown) {
    if (std::string waits = wait_field(*m.breakdown); !waits.empty()) fields.push_back({std::move(waits), 8});
  }
  if (m.slowest_rank >= 0)
    fields.push_back({fmt::format("slowest rank {} ({:.2f}x)", m.slowest_rank, m.slowest_ratio),
                      m.is_straggler ? kUnusual : 9});
  if (m.loss_scale != 1) fields.push_back({fmt::format("scale {}", m.loss_scale), 6});
  if (m.skips > 0)
    fields.push_back({fmt::format("skips {}{}", m.skips, m.skipped ? " (this step)" : ""), kUnusual});
  const auto add_outlier = [&](const char* name, const std::optional<double>& z) {
    if (z && std::abs(*z) >= kOutlier) fields.push_back({fmt::format("{} z {:+.1f}", name, *z), kUnusual});
  };
  add_outlier("loss", m.loss_z);
  add_outlier("gnorm", m.grad_norm_z);
  return fields;
}

std::string joined(const std::vector<Field>& fields) {
  std::string line;
  for (const Field& field : fields) line += (line.empty() ? "" : " | ") + field.text;
  return line;
}

}  // namespace

std::string step_line(const StepMetrics& m, int64_t total_steps, double eta_seconds) {
  return joined(step_fields(m, total_steps, eta_seconds));
}

std::string step_line(const StepMetrics& m, int64_t total_steps, double eta_seconds, size_t columns) {
  std::vector<Field> fields = step_fields(m, total_steps, eta_seconds);
  std::string line = joined(fields);
  while (line.size() > columns && fields.size() > 1) {
    fields.erase(std::ranges::max_element(fields, {}, &Field::rank));
    line = joined(fields);
  }
  return line.substr(0, columns);
}

std::string evaluation_line(const StepMetrics& m, int64_t total_steps) {
  TRIREME_CHECK(m.val_loss.has_value());
  if (std::isnan(*m.val_loss))
    return fmt::format("step {}/{} | val loss is NaN: it is not finite, or there was no token to evaluate",
                       m.step, total_steps);
  return fmt::format("step {}/{} | val loss {:.4f}", m.step, total_steps, *m.val_loss);
}

bool is_watched(std::FILE* out) {
  // mpirun gives ranks a pseudo-terminal as standard output, but pipes as standard error.
  return ::isatty(::fileno(out)) != 0 && ::isatty(STDERR_FILENO) != 0;
}

size_t usable_columns(std::FILE* out) {
  winsize size{};
  const bool is_known = ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return is_known ? size.ws_col - 1u : 79u;
}

Progress::Progress(std::FILE* out, bool is_terminal, int64_t total_steps, int64_t log_every, LogLine log)
    : out_(out),
      screen_(out),
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
    rewrite_line(step_line(metrics, total_steps_, left * mean_step_ms_ / 1000, usable_columns(out_)));
  } else if (is_due) {
    print(line + "\n");
  }
}

void Progress::begin_evaluation() { evaluation_begin_ = last_word_ = Clock::now(); }

void Progress::evaluating(int64_t samples_done, int64_t samples) {
  using std::chrono::milliseconds;
  const auto now = Clock::now();
  if (now - evaluation_begin_ < milliseconds(2000) ||
      now - last_word_ < milliseconds(is_terminal_ ? 500 : 60'000))
    return;
  last_word_ = now;
  const std::string line = fmt::format("evaluating: {} of {} samples", samples_done, samples);
  if (is_terminal_) {
    rewrite_line(line.substr(0, usable_columns(out_)));
  } else {
    note(line);
  }
}

void Progress::rewrite_line(std::string_view line) {
  print(fmt::format("\r{}\x1b[K", line));  // the escape erases what a longer line left behind
  is_line_open_ = true;
}

void Progress::print(std::string_view text) {
  const bool was_well = failure().empty();
  screen_.print(text);
  if (was_well && !failure().empty() && log_)
    log_(fmt::format("standard output cannot be written: {}; the run continues", failure()));
}

void Progress::evaluation(const StepMetrics& metrics) { note(evaluation_line(metrics, total_steps_)); }

void Progress::note(std::string_view line) {
  end_open_line();
  if (log_) log_(line);
  print(fmt::format("{}\n", line));
}

void Progress::end_open_line() {
  if (!is_line_open_) return;
  print("\n");
  is_line_open_ = false;
}

}  // namespace trireme::launch
