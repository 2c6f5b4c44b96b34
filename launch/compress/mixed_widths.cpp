#include "launch/compress/mixed_widths.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "launch/compress/recipe_keys.h"
#include "models/compress/sensitivity.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

/// Each sample passes once for each unit and format: few of them must do.
constexpr size_t kMostSamples = 8;

using Widths = std::map<std::string, ops::PackedSpec>;

Widths read_widths(const std::string& file) {
  Widths widths;
  for (const auto& [name, value] : read_json_file(file).items()) {
    const auto spec = parse_spec(json_string(value, name, file));
    if (!spec) throw_bad_input("{}: {} is no format: {}", file, name, value.dump());
    widths[name] = *spec;
  }
  return widths;
}

void write_widths(const std::string& file, const Widths& widths) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, spec] : widths) json[name] = spec_text(spec);
  write_file_atomically(file, json.dump(1) + "\n");
}

Widths chosen_widths(Compression& c, const QuantizeStep& step, InferenceModel& model,
                     const WeightSource& source, const MatrixPlans& plans) {
  SensitivityOptions options;
  options.specs = step.widths;
  const size_t count = std::min(kMostSamples, c.samples.size());
  options.samples.assign(c.samples.begin(), c.samples.begin() + static_cast<ptrdiff_t>(count));
  options.takes = [&](const std::string& name) {
    return name.starts_with("layers.") && plans(name).rounding.has_value();
  };
  options.progress = [&c](int64_t done, int64_t total, const std::string& at) {
    if (c.is_first()) c.line.show(done, total, at);
  };
  if (c.is_first()) c.line.begin("sensitivity");
  const std::vector<WidthUnit> units = measure_sensitivities(c.ctx, model, source, options);
  if (c.is_first()) c.line.end();
  WidthBudget budget{.bytes = {}, .damage = step.budget_damage};
  if (step.budget_bits) {
    double weights = 0;
    for (const WidthUnit& unit : units) weights += static_cast<double>(unit.weights);
    budget.bytes = static_cast<int64_t>(*step.budget_bits * weights / 8);
  }
  Widths widths;
  for (const auto& [name, spec] : widths_of(units, budget)) {
    if (spec) widths[name] = *spec;
  }
  return widths;
}

void say_widths(Compression& c, const Widths& widths) {
  std::map<std::string, int> counts;
  for (const auto& [name, spec] : widths) ++counts[ops::to_string(spec)];
  for (const auto& [spec, count] : counts) c.say(fmt::format("mixed widths: {} matrices {}", count, spec));
}

}  // namespace

MatrixPlans with_widths(Compression& c, const QuantizeStep& step, InferenceModel& model,
                        const WeightSource& source, MatrixPlans plans, const std::string& directory) {
  if (step.widths.empty()) return plans;
  const std::string file = directory + "/widths.json";
  auto widths = std::make_shared<Widths>();
  bool is_known = false;
  together(c.world, [&] {
    std::error_code ignored;
    is_known = std::filesystem::exists(file, ignored);
    if (is_known) *widths = read_widths(file);
  });
  if (!is_known) {
    *widths = chosen_widths(c, step, model, source, plans);
    together(c.world, [&] {
      if (c.is_first()) write_widths(file, *widths);
    });
  }
  say_widths(c, *widths);
  return [widths, plans = std::move(plans)](const std::string& name) {
    MatrixPlan plan = plans(name);
    const auto found = widths->find(name);
    if (plan.rounding && found != widths->end()) plan.rounding->spec = found->second;
    return plan;
  };
}

}  // namespace trireme::launch
