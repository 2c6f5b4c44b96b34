#include "launch/report/step_breakdown.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {

std::vector<std::pair<std::string, double>> parts_of(const StepBreakdown& b) {
  std::vector<std::pair<std::string, double>> parts = {{"compute", b.compute_ms}};
  for (const auto& [axis, ms] : b.exposed_ms) parts.emplace_back("exposed " + axis, ms);
  parts.insert(parts.end(), {{"bubble", b.bubble_ms},
                             {"data", b.data_ms},
                             {"imbalance", b.imbalance_ms},
                             {"optimizer", b.optimizer_ms},
                             {"checkpoint", b.checkpoint_ms},
                             {"rest", b.rest_ms}});
  return parts;
}

std::string wait_field(const StepBreakdown& b) {
  constexpr double kWorthALook = 0.05;
  constexpr size_t kMost = 3;
  auto parts = parts_of(b);
  std::erase_if(parts, [&](const auto& part) {
    return part.first == "compute" || part.first == "optimizer" || part.first == "rest" ||
           !(part.second >= kWorthALook * b.step_ms);
  });
  std::ranges::stable_sort(parts, std::ranges::greater(), [](const auto& part) { return part.second; });
  if (parts.size() > kMost) parts.resize(kMost);
  std::string text;
  for (const auto& [name, ms] : parts)
    text += fmt::format("{}{:.0f}% {}", text.empty() ? "waits: " : ", ", 100 * ms / b.step_ms, name);
  return text;
}

std::string breakdown_text(const StepBreakdown& b) {
  std::string text;
  for (const auto& [name, ms] : parts_of(b)) {
    const double percent = 100 * ms / b.step_ms;
    if (!(percent >= 0.05)) continue;
    text += fmt::format("{}{} {:.1f} %", text.empty() ? "time of a step, mean over ranks: " : ", ", name,
                        percent);
  }
  return text;
}

nlohmann::ordered_json to_json(const StepBreakdown& b) {
  auto exposed = nlohmann::ordered_json::object();
  for (const auto& [axis, ms] : b.exposed_ms) exposed[axis] = ms;
  return {{"steps", b.steps},
          {"step_ms", b.step_ms},
          {"compute_ms", b.compute_ms},
          {"exposed_ms", exposed},
          {"bubble_ms", b.bubble_ms},
          {"data_ms", b.data_ms},
          {"imbalance_ms", b.imbalance_ms},
          {"optimizer_ms", b.optimizer_ms},
          {"checkpoint_ms", b.checkpoint_ms},
          {"rest_ms", b.rest_ms}};
}

std::string ranks_json_line(const RankTable& ranks, int64_t step, double time) {
  return nlohmann::ordered_json{{"step", step},
                                {"time", time},
                                {"compute_ms", ranks.compute_ms},
                                {"wait_ms", ranks.wait_ms},
                                {"imbalance_ms", ranks.imbalance_ms},
                                {"mem_bytes", ranks.mem_bytes}}
      .dump();
}

}  // namespace trireme::launch
