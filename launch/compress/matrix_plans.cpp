#include "launch/compress/matrix_plans.h"

#include <algorithm>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "models/formats/gguf_config.h"
#include "models/formats/mapped_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr std::string_view kTokenTableName = "embedding.tokens.weight", kHeadName = "head.weight";

bool is_left_out(const std::vector<std::string>& skip, std::string_view name) {
  return std::ranges::any_of(skip, [&](const std::string& pattern) { return matches(pattern, name); });
}

std::vector<Parameter> matrices_of(const ModelConfig& config) {
  std::vector<Parameter> matrices;
  for (Parameter& p : parameters_of(config)) {
    if (p.global_shape.rank() == 2) matrices.push_back(std::move(p));
  }
  return matrices;
}

void check_patterns(const std::vector<std::string>& skip, const std::vector<Parameter>& matrices,
                    std::vector<std::string>& errors) {
  for (const std::string& pattern : skip) {
    const bool is_of_some =
        std::ranges::any_of(matrices, [&](const Parameter& p) { return matches(pattern, p.name); });
    if (!is_of_some)
      errors.push_back(fmt::format("skip {}: no matrix has such a name; names are like {}", pattern,
                                   matrices.empty() ? "" : matrices.back().name));
  }
}

/// Fewer inputs than a group are a group of their own; a last group with fewer has no place in other
/// programs' files.
std::string group_error(const Parameter& p, ops::PackedSpec spec, const QuantizeStep& step) {
  const int64_t inputs = p.global_shape[1];
  const auto divides = [&](const ops::PackedSpec& s) { return s.group == 0 || inputs % s.group == 0; };
  if (!step.widths.empty() && p.name.starts_with("layers.")) {
    const auto bad = std::ranges::find_if_not(step.widths, divides);
    if (bad == step.widths.end()) return "";
    spec = *bad;
  }
  if (divides(spec)) return "";
  std::string fit;
  for (const int64_t group : {128, 64, 32}) {
    if (inputs % group == 0) fit += fmt::format("{}, ", group);
  }
  return fmt::format(
      "{} has {} inputs, which groups of {} do not divide: {}0 (the whole row) would, or skip it", p.name,
      inputs, spec.group, fit);
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  pattern.remove_prefix(star + 1);
  for (name.remove_prefix(star);; name.remove_prefix(1)) {
    if (matches(pattern, name)) return true;
    if (name.empty()) return false;
  }
}

MatrixPlan plan_of(const QuantizeStep& step, std::string_view name) {
  if (is_left_out(step.skip, name) || name.ends_with(kRouterWeight)) return {};
  RoundingOptions rounding = step.rounding;
  if (name == kTokenTableName) {
    if (!step.embedding) return {};
    rounding = {.spec = *step.embedding};
  } else if (name == kHeadName) {
    if (!step.head) return {};
    rounding.spec = *step.head;
  } else if (!name.starts_with("layers.")) {
    return {};
  }
  return {rounding};
}

MatrixPlan plan_of(const PruneStep& step, std::string_view name) {
  const bool is_taken =
      name.starts_with("layers.") && !name.ends_with(kRouterWeight) && !is_left_out(step.skip, name);
  return is_taken ? MatrixPlan{.pruning = step.options} : MatrixPlan{};
}

bool needs_samples(const PruneStep& step) { return step.options.method != PruneMethod::magnitude; }

std::vector<std::string> errors_of(const PruneStep& step, const ModelConfig& config) {
  const std::vector<Parameter> matrices = matrices_of(config);
  std::vector<std::string> errors;
  check_patterns(step.skip, matrices, errors);
  if (std::ranges::none_of(matrices,
                           [&](const Parameter& p) { return plan_of(step, p.name).pruning.has_value(); }))
    errors.emplace_back("nothing is left to prune: skip names all matrices of layers");
  return errors;
}

bool needs_samples(const QuantizeStep& step) {
  return step.scaling != InputScaling::none || step.rounding.method != RoundingMethod::nearest ||
         step.rounding.clips;
}

std::vector<std::string> errors_of(const QuantizeStep& step, const ModelConfig& config,
                                   const WeightSource& source) {
  const std::vector<Parameter> matrices = matrices_of(config);
  std::vector<std::string> errors;
  check_patterns(step.skip, matrices, errors);
  const bool has_head = std::ranges::any_of(matrices, [](const Parameter& p) { return p.name == kHeadName; });
  if (step.head && !has_head)
    errors.emplace_back("head: the model's head is tied to the token table; embedding is the format of both");
  int64_t num_planned = 0, num_coded = 0, num_indivisible = 0;
  for (const Parameter& p : matrices) {
    const bool is_coded = source.coded_spec(p.name, p).has_value();
    num_coded += is_coded ? 1 : 0;
    const MatrixPlan plan = plan_of(step, p.name);
    if (is_coded || !plan.rounding) continue;
    ++num_planned;
    const std::string error = group_error(p, plan.rounding->spec, step);
    if (!error.empty() && num_indivisible++ < 4) errors.push_back(error);
  }
  if (num_indivisible > 4) errors.push_back(fmt::format("and {} matrices more", num_indivisible - 4));
  if (num_planned == 0 && num_coded > 0)
    errors.emplace_back("nothing is left to quantize: all matrices are quantized already");
  if (num_planned == 0 && num_coded == 0)
    errors.emplace_back("nothing is left to quantize: skip names all matrices");
  if (step.scaling != InputScaling::none && num_coded > 0)
    errors.emplace_back(
        "awq and smoothquant scale weights that are quantized already: let the first step do it");
  return errors;
}

namespace {

/// Why GGUF cannot hold the model, before anything is made of it; empty: it can.
std::string gguf_refusal(const ModelConfig& config) {
  try {
    (void)write_gguf_config(config);
  } catch (const UserError& error) {
    return fmt::format("export gguf: {}", error.what());
  }
  return "";
}

}  // namespace

std::vector<std::string> export_errors(const Recipe& recipe, const ModelConfig& config,
                                       const WeightSource& source) {
  std::vector<QuantizedTensor> tensors;
  for (const Parameter& p : parameters_of(config)) {
    std::optional<ops::PackedSpec> spec = source.coded_spec(p.name, p);
    for (const RecipeStep& step : recipe.steps) {
      if (step.kind != StepKind::quantize || p.global_shape.rank() != 2 || spec) continue;
      if (!step.quantize.widths.empty()) return {};
      if (const MatrixPlan plan = plan_of(step.quantize, p.name); plan.rounding) spec = plan.rounding->spec;
    }
    tensors.push_back({p.name, p.global_shape, spec});
  }
  std::vector<std::string> errors;
  for (const RecipeStep& step : recipe.steps) {
    if (step.kind != StepKind::export_model) continue;
    if (step.exported.format == "gguf") {
      if (const std::string why = gguf_refusal(config); !why.empty()) errors.push_back(why);
      continue;
    }
    const QuantizedFormat format = step.exported.format == "gptq"  ? QuantizedFormat::gptq
                                   : step.exported.format == "awq" ? QuantizedFormat::awq
                                                                   : QuantizedFormat::compressed_tensors;
    const std::vector<std::string> reasons = cannot_write(format, config, tensors);
    for (const std::string& reason : std::span(reasons).first(std::min<size_t>(reasons.size(), 4)))
      errors.push_back(fmt::format("export {}: {}", step.exported.format, reason));
  }
  return errors;
}

}  // namespace trireme::launch
