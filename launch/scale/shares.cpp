#include "launch/scale/shares.h"

#include <algorithm>

namespace trireme::launch {

std::vector<PartShare> shares_against(const PartsOfPoint& point, const PartsOfPoint& baseline) {
  const auto per_token = [](const PartsOfPoint& of, std::string_view key) {
    return of.tokens_per_step > 0 ? of.parts[key] * of.ranks / static_cast<double>(of.tokens_per_step) : 0;
  };
  std::vector<std::string> keys;
  for (const auto& [key, ms] : point.parts.ms) keys.push_back(key);
  // What the baseline alone spends, as an axis that the point has not, is won.
  for (const auto& [key, ms] : baseline.parts.ms) {
    if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  }
  double whole = 0;
  for (const std::string& key : keys) whole += per_token(point, key);
  std::vector<PartShare> shares;
  if (!(whole > 0)) return shares;
  for (const std::string& key : keys) {
    const double now = per_token(point, key), before = per_token(baseline, key);
    if (key != "compute") {
      shares.push_back({key, now / whole, (now - before) / whole});
      continue;
    }
    shares.push_back({key, std::min(now, before) / whole, std::min(0.0, now - before) / whole});
    const double more = std::max(0.0, now - before) / whole;
    shares.push_back({"slower compute", more, more});
  }
  return shares;
}

}  // namespace trireme::launch
