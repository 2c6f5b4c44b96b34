#include "launch/scale/serial_fraction.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "launch/scale/statistics.h"

namespace trireme::launch {

SerialFraction fit_serial_fraction(ScaleMode mode, std::span<const Throughput> runs) {
  constexpr int kFewestCounts = 3;
  SerialFraction result;
  std::vector<LinePoint> points;
  std::set<int> counts;
  for (const Throughput& run : runs) {
    if (!std::isfinite(run.tok_s) || run.tok_s <= 0 || run.ranks < 1) continue;
    counts.insert(run.ranks);
    const double n = run.ranks;
    const double y = mode == ScaleMode::strong ? 1 / run.tok_s : run.tok_s;
    points.push_back({mode == ScaleMode::strong ? 1 / n : n, y, 1 / (y * y)});
  }
  result.rank_counts = static_cast<int>(counts.size());
  if (result.rank_counts < kFewestCounts) {
    result.missing = fmt::format("{} rank count{} measured; a fit needs {}", result.rank_counts,
                                 result.rank_counts == 1 ? "" : "s", kFewestCounts);
    return result;
  }
  const auto line = fit_line(points);
  const double sum = line ? line->a + line->b : 0;
  if (!line || !(std::abs(sum) > 0)) {
    result.missing = "the measurements give no line";
    return result;
  }
  result.fraction = line->a / sum;
  const double variance = line->b * line->b * line->var_a + line->a * line->a * line->var_b -
                          2 * line->a * line->b * line->cov_ab;
  result.error = std::sqrt(std::max(0.0, variance)) / (sum * sum);
  result.r2 = line->r2;
  return result;
}

}  // namespace trireme::launch
