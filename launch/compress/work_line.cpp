#include "launch/compress/work_line.h"

#include <utility>

#include <fmt/format.h>

#include "launch/report/number_text.h"
#include "launch/report/progress.h"

namespace trireme::launch {

std::string work_text(std::string_view step, int64_t done, int64_t total, std::string_view at,
                      double seconds) {
  std::string text = fmt::format("{} | {} of {} | {}", step, done, total, at);
  if (total > 0) text += fmt::format(" | {} %", 100 * done / total);
  return seconds >= 0 ? text + fmt::format(" | {} left", short_duration(seconds)) : text;
}

void WorkLine::begin(std::string step) {
  end();
  step_ = std::move(step);
  begin_ = last_ = Clock::now();
  first_done_ = -1;
}

void WorkLine::show(int64_t done, int64_t total, std::string_view at) {
  if (first_done_ < 0) first_done_ = done;
  const auto now = Clock::now();
  if (now - last_ < (is_terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10'000)))
    return;
  last_ = now;
  const std::chrono::duration<double> spent = now - begin_;
  const auto made = static_cast<double>(done - first_done_);
  const std::string text = work_text(
      step_, done, total, at, made > 0 ? spent.count() / made * static_cast<double>(total - done) : -1);
  if (!is_terminal_) return screen_.print(text + "\n");
  screen_.print(fmt::format("\r{}\x1b[K", text.substr(0, usable_columns(out_))));
  is_open_ = true;
}

void WorkLine::note(std::string_view line) {
  end();
  screen_.print(fmt::format("{}\n", line));
}

void WorkLine::end() {
  if (is_open_) screen_.print("\r\x1b[K");
  is_open_ = false;
}

}  // namespace trireme::launch
