#include "launch/generate/stopped_text.h"

#include <algorithm>
#include <utility>

namespace trireme::launch {

StopSearch::StopSearch(std::vector<std::string> stops, bool includes_stop)
    : stops_(std::move(stops)), includes_stop_(includes_stop) {
  for (const std::string& stop : stops_) longest_ = std::max(longest_, stop.size());
}

std::string StopSearch::push(std::string_view text) {
  if (is_stopped_) return "";
  held_ += text;
  size_t first_end = std::string::npos, begin = 0;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const size_t end = at + stop.size();
    if (end < first_end || (end == first_end && at < begin)) first_end = end, begin = at;
  }
  if (first_end != std::string::npos) {
    is_stopped_ = true;
    return std::exchange(held_, {}).substr(0, includes_stop_ ? first_end : begin);
  }
  // The longest end that a stop string may begin with.
  size_t kept = std::min(held_.size(), longest_ > 0 ? longest_ - 1 : 0);
  const auto may_begin = [&](size_t length) {
    const std::string_view end = std::string_view(held_).substr(held_.size() - length);
    return std::ranges::any_of(stops_, [&](const std::string& stop) { return stop.starts_with(end); });
  };
  while (kept > 0 && !may_begin(kept)) --kept;
  std::string given = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  return given;
}

std::string StopSearch::finish() { return std::exchange(held_, {}); }

std::string StoppedText::finish() {
  if (is_stopped()) return "";
  std::string rest = search_.push(stream_.finish());
  if (!is_stopped()) rest += search_.finish();
  return kept(std::move(rest));
}

}  // namespace trireme::launch
