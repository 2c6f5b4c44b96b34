#include "launch/scale/step_parts.h"

#include <algorithm>
#include <cmath>

namespace trireme::launch {

namespace {

constexpr std::string_view kAfterExposed[] = {"bubble",    "data",       "imbalance",
                                              "optimizer", "checkpoint", "rest"};
constexpr std::string_view kExposed = "exposed.";

double number_in(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return 0;
  const double value = found->get<double>();
  return std::isfinite(value) ? value : 0;
}

/// 0 compute, 1 exposed, then the others in their order.
size_t order_of(std::string_view key) {
  if (key == "compute") return 0;
  if (key.starts_with(kExposed)) return 1;
  const auto found = std::ranges::find(kAfterExposed, key);
  return 2 + static_cast<size_t>(found - std::begin(kAfterExposed));
}

double& part_in(StepParts& parts, const std::string& key) {
  const auto found = std::ranges::find(parts.ms, key, &std::pair<std::string, double>::first);
  if (found != parts.ms.end()) return found->second;
  const auto after =
      std::ranges::find_if(parts.ms, [&](const auto& part) { return order_of(part.first) > order_of(key); });
  return parts.ms.insert(after, {key, 0})->second;
}

}  // namespace

double StepParts::operator[](std::string_view key) const {
  const auto found = std::ranges::find(ms, key, &std::pair<std::string, double>::first);
  return found == ms.end() ? 0 : found->second;
}

double StepParts::sum() const {
  double sum = 0;
  for (const auto& [key, value] : ms) sum += value;
  return sum;
}

std::optional<StepParts> read_parts(const nlohmann::json& breakdown) {
  if (!breakdown.is_object()) return std::nullopt;
  StepParts parts;
  parts.step_ms = number_in(breakdown, "step_ms");
  if (!(parts.step_ms > 0)) return std::nullopt;
  parts.steps = std::max(1.0, number_in(breakdown, "steps"));
  parts.ms.emplace_back("compute", number_in(breakdown, "compute_ms"));
  const auto exposed = breakdown.find("exposed_ms");
  if (exposed != breakdown.end() && exposed->is_object()) {
    for (const auto& [axis, value] : exposed->items())
      parts.ms.emplace_back(std::string(kExposed) + axis, number_in(*exposed, axis));
  }
  for (const std::string_view key : kAfterExposed)
    parts.ms.emplace_back(key, number_in(breakdown, std::string(key) + "_ms"));
  return parts;
}

std::optional<StepParts> mean_parts(const std::vector<StepParts>& all) {
  StepParts mean;
  for (const StepParts& one : all) mean.steps += one.steps;
  if (!(mean.steps > 0)) return std::nullopt;
  for (const StepParts& one : all) {
    const double weight = one.steps / mean.steps;
    mean.step_ms += weight * one.step_ms;
    for (const auto& [key, value] : one.ms) part_in(mean, key) += weight * value;
  }
  part_in(mean, "rest") += mean.step_ms - mean.sum();
  return mean;
}

}  // namespace trireme::launch
