#include "runtime/watch/hang_limits.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace trireme::watch {

namespace {

constexpr size_t kFirstOfStep = static_cast<size_t>(Phase::data);
constexpr size_t kLastOfStep = static_cast<size_t>(Phase::update);
constexpr double kLongest = 1e6;

std::optional<double> parse_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  if (!is_whole || !(seconds >= 0 && seconds <= kLongest)) return std::nullopt;
  return seconds;
}

bool set_limit(HangLimits& limits, std::string_view name, double seconds) {
  bool is_known = false;
  for (size_t i = 0; i < kNumPhases; ++i) {
    const bool is_of_step = name == "step" && i >= kFirstOfStep && i <= kLastOfStep;
    if (!is_of_step && name != to_string(static_cast<Phase>(i))) continue;
    limits.seconds[i] = seconds;
    is_known = true;
  }
  return is_known;
}

}  // namespace

HangLimits HangLimits::all(double limit) {
  HangLimits limits;
  limits.seconds.fill(limit);
  return limits;
}

bool HangLimits::is_on() const {
  return std::ranges::any_of(seconds, [](double limit) { return limit > 0; });
}

double HangLimits::of(Phase phase, bool is_first_step) const {
  const auto at = static_cast<size_t>(phase);
  const bool warms_up = is_first_step && at >= kFirstOfStep && at <= kLastOfStep && seconds[at] > 0;
  return warms_up ? std::max(seconds[at], seconds[static_cast<size_t>(Phase::setup)]) : seconds[at];
}

std::optional<HangLimits> parse_hang_limits(std::string_view text) {
  HangLimits limits;
  bool is_first = true;
  while (true) {
    const size_t end = text.find(',');
    const std::string_view part = text.substr(0, end);
    const size_t equals = part.find('=');
    const bool is_of_all = equals == std::string_view::npos;
    const auto seconds = parse_seconds(is_of_all ? part : part.substr(equals + 1));
    if (!seconds || (is_of_all && !is_first)) return std::nullopt;
    if (is_of_all) {
      limits = HangLimits::all(*seconds);
    } else if (!set_limit(limits, part.substr(0, equals), *seconds)) {
      return std::nullopt;
    }
    if (end == std::string_view::npos) return limits;
    text.remove_prefix(end + 1);
    is_first = false;
  }
}

std::string to_string(const HangLimits& limits) {
  const double most = limits.seconds[kFirstOfStep];
  std::string text = fmt::format("{}", most);
  for (size_t i = 0; i < kNumPhases; ++i) {
    if (limits.seconds[i] == most) continue;
    text += fmt::format(",{}={}", to_string(static_cast<Phase>(i)), limits.seconds[i]);
  }
  return text;
}

}  // namespace trireme::watch
