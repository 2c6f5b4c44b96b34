#include "launch/compare/compare_text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/report/visible_text.h"

namespace trireme::launch {

namespace {

using nlohmann::ordered_json;

std::string side_line(const char* name, const std::vector<ComparedRun>& side) {
  std::string text;
  for (const ComparedRun& run : side) {
    text += fmt::format("{} {}: {} steps, {}\n", name, visible(run.path), run.steps.back().step,
                        run.version.empty() ? "version unknown" : visible(run.version));
  }
  return text;
}

std::string options_text(const Comparison& comparison) {
  if (comparison.options.empty())
    return fmt::format("configuration: none of {} options differs\n", comparison.num_options);
  size_t key = 0, value = 0;
  for (const OptionDifference& difference : comparison.options) {
    key = std::max(key, difference.key.size());
    value = std::max(value, std::min<size_t>(option_text(difference.a).size(), 40));
  }
  std::string text = fmt::format("configuration: {} of {} options differ\n", comparison.options.size(),
                                 comparison.num_options);
  for (const OptionDifference& difference : comparison.options) {
    text += fmt::format("  {:<{}}  {:<{}}  {}\n", difference.key, key, visible(option_text(difference.a)),
                        value, visible(option_text(difference.b)));
  }
  return text;
}

ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(); }

ordered_json verdict_json(const NoiseVerdict& verdict) {
  ordered_json json = {{"verdict", verdict.text}, {"known", verdict.is_known}};
  if (!verdict.is_known) return json;
  json["noise"] = verdict.is_noise;
  json["a"] = finite(verdict.a);
  json["b"] = finite(verdict.b);
  json["difference"] = finite(verdict.difference.value);
  json["low"] = finite(verdict.difference.low);
  json["high"] = finite(verdict.difference.high);
  json["p"] = finite(verdict.difference.p);
  json["method"] = verdict.method;
  return json;
}

ordered_json side_json(const std::vector<ComparedRun>& side) {
  ordered_json json = ordered_json::array();
  for (const ComparedRun& run : side) {
    json.push_back({{"path", run.path}, {"version", run.version}, {"last_step", run.steps.back().step}});
  }
  return json;
}

}  // namespace

std::string side_name(const std::vector<ComparedRun>& side) {
  if (side.size() == 1) return side.front().path;
  return fmt::format("{} and {} repeat{}", side.front().path, side.size() - 1, side.size() == 2 ? "" : "s");
}

std::string option_text(const std::vector<std::string>& values) {
  const auto shown = [](const std::string& value) { return value.empty() ? std::string("(none)") : value; };
  std::vector<std::string> all;
  for (const std::string& value : values) all.push_back(shown(value));
  return fmt::format("{}", fmt::join(all, " | "));
}

std::string comparison_text(const Comparison& comparison) {
  std::string text = side_line("A", comparison.a) + side_line("B", comparison.b) + options_text(comparison);
  for (const auto& [name, verdict] :
       {std::pair("speed", &comparison.speed), std::pair("loss", &comparison.loss),
        std::pair("validation loss", &comparison.val_loss)}) {
    text += fmt::format("{}: {}\n", name, visible(verdict->text));
    if (!verdict->method.empty()) text += fmt::format("  by {}\n", verdict->method);
  }
  return text;
}

ordered_json comparison_json(const Comparison& comparison) {
  ordered_json json = {{"a", side_json(comparison.a)}, {"b", side_json(comparison.b)}};
  json["options"] = ordered_json::array();
  for (const OptionDifference& difference : comparison.options)
    json["options"].push_back({{"key", difference.key}, {"a", difference.a}, {"b", difference.b}});
  json["speed"] = verdict_json(comparison.speed);
  json["loss"] = verdict_json(comparison.loss);
  json["loss"]["equal_until"] = comparison.equal_until;
  json["loss"]["last_common"] = comparison.last_common;
  json["val_loss"] = verdict_json(comparison.val_loss);
  return json;
}

}  // namespace trireme::launch
