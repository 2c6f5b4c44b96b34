#include "launch/serve/engine/finish_rate.h"

#include <algorithm>
#include <cmath>

namespace trireme::launch {

namespace {
constexpr size_t kRememberedEnds = 64;
}  // namespace

void FinishRate::ended(double now) {
  ends_.push_back(now);
  if (ends_.size() > kRememberedEnds) ends_.pop_front();
}

double FinishRate::seconds_for(int64_t texts, double now) const {
  constexpr double kLeast = 1, kMost = 600;  // that a client is told to wait
  if (ends_.size() < 2) return kLeast;
  // Until now, so that a server in which nothing ends any more says so.
  const double each = (now - ends_.front()) / static_cast<double>(ends_.size() - 1);
  return std::clamp(std::ceil(each * static_cast<double>(texts)), kLeast, kMost);
}

}  // namespace trireme::launch
