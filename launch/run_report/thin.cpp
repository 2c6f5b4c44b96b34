#include "launch/run_report/thin.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trireme::launch {

size_t values_per_point(size_t n, size_t most) { return std::max<size_t>(1, (n + most - 1) / most); }

Band thin(std::span<const double> values, size_t per_point) {
  Band band;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (size_t begin = 0; begin < values.size(); begin += per_point) {
    double sum = 0, low = nan, high = nan, count = 0;
    for (const double value : values.subspan(begin, std::min(per_point, values.size() - begin))) {
      if (!std::isfinite(value)) continue;
      sum += value;
      low = count > 0 ? std::min(low, value) : value;
      high = count > 0 ? std::max(high, value) : value;
      ++count;
    }
    band.mean.push_back(count > 0 ? sum / count : nan);
    if (per_point == 1) continue;
    band.low.push_back(low);
    band.high.push_back(high);
    band.count.push_back(count);
  }
  return band;
}

std::vector<double> ends_of_points(std::span<const double> values, size_t per_point) {
  std::vector<double> ends;
  for (size_t begin = 0; begin < values.size(); begin += per_point)
    ends.push_back(values[std::min(begin + per_point, values.size()) - 1]);
  return ends;
}

}  // namespace trireme::launch
