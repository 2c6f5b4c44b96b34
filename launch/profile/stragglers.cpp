#include "launch/profile/stragglers.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

SlowRank slowest(const std::vector<double>& ratios, const std::vector<int>& num_windows) {
  const auto rank = static_cast<size_t>(std::ranges::max_element(ratios) - ratios.begin());
  return {static_cast<int>(rank), ratios[rank], num_windows[rank]};
}

}  // namespace

bool SlowRank::is_straggler() const { return num_windows >= Stragglers::kWindows; }

Stragglers::Stragglers(std::vector<int> stages)
    : stages_(std::move(stages)), totals_(stages_.size()), num_windows_(stages_.size()) {}

std::vector<double> Stragglers::ratios(std::span<const double> seconds) const {
  std::map<int, std::vector<double>> of_stage;
  for (size_t r = 0; r < stages_.size(); ++r) of_stage[stages_[r]].push_back(seconds[r]);
  std::map<int, double> medians;
  for (auto& [stage, times] : of_stage) {
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>((times.size() - 1) / 2);
    std::ranges::nth_element(times, middle);
    medians[stage] = *middle;
  }
  std::vector<double> ratios;
  for (size_t r = 0; r < stages_.size(); ++r) {
    const double median = medians[stages_[r]];
    ratios.push_back(median > 0 ? seconds[r] / median : 1);
  }
  return ratios;
}

SlowRank Stragglers::add(std::span<const double> seconds) {
  TRIREME_CHECK(seconds.size() == stages_.size(), "{} times of {} ranks", seconds.size(), stages_.size());
  const std::vector<double> of_window = ratios(seconds);
  new_ones_.clear();
  for (size_t r = 0; r < of_window.size(); ++r) {
    totals_[r] += seconds[r];
    num_windows_[r] = of_window[r] > kRatio ? num_windows_[r] + 1 : 0;
    if (num_windows_[r] == kWindows) new_ones_.push_back({static_cast<int>(r), of_window[r], kWindows});
  }
  return slowest(of_window, num_windows_);
}

SlowRank Stragglers::overall() const { return slowest(ratios(totals_), num_windows_); }

}  // namespace trireme::launch
