#include "launch/profile/wait_times.h"

#include <fmt/format.h>

namespace trireme::launch {

WaitTimes::WaitTimes(const ParallelContext& parallel)
    : groups_(parallel.groups()), before_(groups_.size()), waited_(groups_.size()) {}

void WaitTimes::start() {
  for (size_t i = 0; i < groups_.size(); ++i) before_[i] = groups_[i]->seconds_waited();
}

double WaitTimes::stop() {
  double sum = 0;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const double seconds = groups_[i]->seconds_waited() - before_[i];
    waited_[i] += seconds;
    sum += seconds;
  }
  return sum;
}

std::string WaitTimes::text(double seconds, const std::function<double(double)>& mean) const {
  std::string shares;
  for (size_t i = 0; i < groups_.size(); ++i) {
    shares += fmt::format("{}{} {:.1f} %", shares.empty() ? "" : ", ", groups_[i]->name(),
                          100 * mean(waited_[i]) / seconds);
  }
  return shares.empty()
             ? ""
             : fmt::format("exposed communication, share of step time, mean over ranks: {}", shares);
}

}  // namespace trireme::launch
