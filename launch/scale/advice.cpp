#include "launch/scale/advice.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

/// What one does about a part.
std::string remedy_of(const std::string& key) {
  static const std::map<std::string, std::string> kRemedies = {
      {"slower compute",
       "Computing a token as fast as the baseline does (cores and memory bandwidth of its own for each rank, "
       "larger matrix products)"},
      {"exposed.data", "Overlapping or speeding up the data axis' reduction of gradients"},
      {"exposed.tensor", "Speeding up the tensor axis' collectives, or fewer tensor-parallel ranks"},
      {"exposed.context",
       "Speeding up the context axis' exchange of keys and values, or fewer context ranks"},
      {"exposed.expert", "Speeding up the expert axis' all-to-all of tokens"},
      {"exposed.pipeline", "Speeding up the sends between pipeline stages"},
      {"bubble",
       "Filling the pipeline's bubble (more micro-batches, another --parallel.schedule, equal stages)"},
      {"data", "Reading batches faster (token files, a higher --data.prefetch)"},
      {"imbalance", "Ranks that arrive together at collectives (hosts of equal speed that nobody shares)"},
      {"optimizer", "A cheaper or sharded update (--parallel.zero 1)"},
      {"checkpoint", "Rarer or asynchronous checkpoints"},
      {"rest", "Finding what the breakdown does not explain"},
  };
  const auto found = kRemedies.find(key);
  if (found != kRemedies.end()) return found->second;
  return key.starts_with("exposed.")
             ? fmt::format("Overlapping or speeding up communication of the {} axis", key.substr(8))
             : "Less " + key;
}

std::string place_of(const Point& point) {
  const std::string line = point.line();
  return fmt::format("{} rank{}{}", point.ranks, point.ranks == 1 ? "" : "s",
                     line.empty() ? "" : " (" + line + ")");
}

std::string percent(double share) { return fmt::format("{:.{}f} %", 100 * share, share < 0.0995 ? 1 : 0); }

const char* oversubscribed_text(const Point& point) {
  return point.oversubscribed ? " More ranks than cores share these: that is no property of the program."
                              : "";
}

std::string advice_of_baseline(const Point& point, const PointResult& result) {
  const PartShare* largest = nullptr;
  for (const PartShare& part : result.shares) {
    if (part.key != "compute" && (largest == nullptr || part.share > largest->share)) largest = &part;
  }
  if (largest == nullptr || !(largest->share > 0.01 && largest->share < 1))
    return fmt::format("At {} nearly all of a step is compute: nothing else would help.", place_of(point));
  return fmt::format("{} would help most: at most {} more tokens/s at {}, where it takes {} of a step.",
                     remedy_of(largest->key), percent(largest->share / (1 - largest->share)), place_of(point),
                     percent(largest->share));
}

}  // namespace

std::string advice_for(const Point& point, const PointResult& result, const PointResult& baseline) {
  if (!result.efficiency) return fmt::format("Nothing was measured at {}.", place_of(point));
  if (result.shares.empty()) {
    return fmt::format(
        "At {} {} of the ideal throughput is lost; where is not known, since the runs' "
        "metrics.jsonl have no breakdown.",
        place_of(point), percent(std::max(0.0, 1 - *result.efficiency)));
  }
  if (result.point == baseline.point) return advice_of_baseline(point, result) + oversubscribed_text(point);
  const double loss = 1 - *result.efficiency;
  const double noise = std::hypot(result.tok_s.relative(), baseline.tok_s.relative());
  if (loss <= std::max(noise, 0.005)) {
    return fmt::format("At {} no throughput is lost beyond the spread of the repeats ({} lost, spread {}).{}",
                       place_of(point), percent(std::max(0.0, loss)), percent(noise),
                       oversubscribed_text(point));
  }
  const auto largest = std::ranges::max_element(result.shares, {}, &PartShare::lost);
  if (!(largest->lost > 0 && largest->lost < 1)) {
    return fmt::format(
        "At {} {} of the ideal throughput is lost, and no part of a step takes more than at the "
        "baseline: repeat the series.",
        place_of(point), percent(loss));
  }
  return fmt::format(
      "{} would help most: at most {} more tokens/s at {}, where it costs {} of the {} that are lost.{}",
      remedy_of(largest->key), percent(largest->lost / (1 - largest->lost)), place_of(point),
      percent(largest->lost), percent(loss), oversubscribed_text(point));
}

std::string advice_for(const SeriesResult& series) {
  std::map<std::string, const PointResult*> largest;  // by group
  const auto point_of = [&](const PointResult& result) -> const Point& {
    return series.points[result.point];
  };
  // A point with a core for each rank says more than any without; then more ranks, then more speed.
  const auto rank_of = [&](const PointResult& result) {
    const Point& point = point_of(result);
    const bool is_more = point.ranks > series.points[result.baseline].ranks;
    return std::tuple(is_more && !point.oversubscribed, point.ranks, result.tok_s.median);
  };
  for (const PointResult& result : series.results) {
    if (!result.efficiency) continue;
    const PointResult*& best = largest[point_of(result).group()];
    if (best == nullptr || rank_of(result) > rank_of(*best)) best = &result;
  }
  std::string text;
  for (const auto& [group, result] : largest) {
    const auto baseline = std::ranges::find(series.results, result->baseline, &PointResult::point);
    if (baseline == series.results.end()) continue;
    text += fmt::format("{}{}{}", text.empty() ? "" : "\n",
                        largest.size() > 1 && !group.empty() ? group + ": " : "",
                        advice_for(point_of(*result), *result, *baseline));
  }
  return text.empty() ? "Nothing was measured: there is no advice." : text;
}

}  // namespace trireme::launch
