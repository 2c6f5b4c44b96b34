// What a step's time went into, as metrics.jsonl has it ("breakdown"): parts that add up.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::launch {

/// Milliseconds a step, means over steps and ranks. Keys in a fixed order: compute, exposed.AXIS in the order
/// of the record, bubble, data, imbalance, optimizer, checkpoint, rest.
struct StepParts {
  double steps = 0;
  double step_ms = 0;
  std::vector<std::pair<std::string, double>> ms;

  /// 0 where there is no such part.
  double operator[](std::string_view key) const;
  /// That of all parts, which is step_ms but for what the record leaves unexplained.
  double sum() const;
};

/// Of a "breakdown" object. Nothing where it is none: a member that is missing counts as 0, but for step_ms.
std::optional<StepParts> read_parts(const nlohmann::json& breakdown);

/// The mean of several, by steps: parts that one lacks are 0 there. What the records leave unexplained is
/// added to "rest", so that the parts of the result add up to its step_ms. Nothing where there are no steps.
std::optional<StepParts> mean_parts(const std::vector<StepParts>& all);

}  // namespace trireme::launch
