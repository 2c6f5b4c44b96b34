#include "launch/profile/stragglers.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

struct PlaceOfRank {
  int64_t stage;
  char host[64];
};

std::vector<PlaceOfRank> gather_places(Communicator& world, int stage, const std::string& host) {
  PlaceOfRank mine{stage, {}};
  host.copy(mine.host, sizeof mine.host - 1);
  std::vector<PlaceOfRank> all(static_cast<size_t>(world.size()));
  constexpr auto kBytes = static_cast<int64_t>(sizeof mine);
  const auto stream = cpu::make_compute_stream();
  world.all_gather(*stream, Tensor::borrow(&mine, {kBytes}, DType::u8),
                   Tensor::borrow(all.data(), {kBytes * world.size()}, DType::u8));
  return all;
}

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

StragglerWatch::StragglerWatch(Communicator& world, int stage, const std::string& host)
    : world_(world), stragglers_([&] {
        std::vector<int> stages;
        for (const PlaceOfRank& place : gather_places(world, stage, host)) {
          hosts_.emplace_back(place.host);
          stages.push_back(static_cast<int>(place.stage));
        }
        return stages;
      }()) {}

SlowRank StragglerWatch::end_window() {
  double mine = std::exchange(seconds_, 0);
  std::vector<double> all(hosts_.size());
  const auto stream = cpu::make_compute_stream();
  world_.all_gather(*stream, Tensor::borrow(&mine, {1}, DType::f64),
                    Tensor::borrow(all.data(), {world_.size()}, DType::f64));
  return stragglers_.add(all);
}

std::string StragglerWatch::name_of(int rank) const {
  return fmt::format("rank {} on {}", rank, hosts_[static_cast<size_t>(rank)]);
}

std::vector<std::string> StragglerWatch::warnings() const {
  std::vector<std::string> lines;
  for (const SlowRank& slow : stragglers_.new_ones()) {
    lines.push_back(fmt::format(
        "warning: {} is a straggler: in {} log windows in succession it has computed more than {}x as long "
        "as "
        "the median of its pipeline stage, {:.2f}x in the last; all ranks wait for it. Look for other "
        "processes on its cores, their binding, frequency and temperature, or leave that host out",
        name_of(slow.rank), Stragglers::kWindows, Stragglers::kRatio, slow.ratio));
  }
  return lines;
}

std::string StragglerWatch::summary() const {
  const SlowRank slow = stragglers_.overall();
  if (world_.size() == 1 || slow.ratio <= 1) return "";
  return fmt::format("slowest: {}, which computed {:.2f}x as long as the median of its pipeline stage",
                     name_of(slow.rank), slow.ratio);
}

}  // namespace trireme::launch
