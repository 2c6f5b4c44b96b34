// What a step's keys make together.
#include <algorithm>

#include "launch/compress/recipe_keys.h"
#include "launch/compress/step_methods.h"

namespace trireme::launch {

namespace {

void finish_quantize(const StepDraft& draft, const std::string& where, QuantizeStep& q,
                     std::vector<std::string>& errors) {
  const auto method = std::ranges::find_if(
      kMethods, [&](const auto& m) { return (draft.method.empty() ? "gptq" : draft.method) == m.name; });
  const auto refuse = [&](bool is_given, const char* key, const std::string& why) {
    if (is_given) errors.push_back(fmt::format("{}{} has no effect {}", where, key, why));
  };
  const bool is_gptq = method->rounding == RoundingMethod::gptq;
  q.scaling = method->scaling;
  q.rounding.method = method->rounding;
  q.rounding.spec.format = draft.weights.value_or(ops::PackedFormat::int4);
  const bool is_float = q.rounding.spec.format == ops::PackedFormat::fp8;
  q.rounding.spec.group = is_float ? 0 : draft.group.value_or(kDefaultGroup);
  q.rounding.spec.symmetric = !draft.is_asymmetric.value_or(false);
  q.rounding.order = draft.order.value_or(is_gptq ? ColumnOrder::static_groups : ColumnOrder::as_is);
  q.rounding.damping = draft.damping.value_or(0.01);
  q.rounding.clips = draft.clips.value_or(q.scaling == InputScaling::awq);
  q.strength = draft.strength.value_or(0.5);
  q.activations = draft.activations.value_or(ops::Activations::int8);
  q.sequential = draft.is_sequential.value_or(true);
  refuse(is_float && draft.group, "group", "with weights fp8, which have a scale for each output");
  refuse(is_float && draft.is_asymmetric, "asymmetric", "with weights fp8, which have no zero point");
  refuse(draft.order && !is_gptq, "order", fmt::format("with method {}: gptq has an order", method->name));
  refuse(draft.damping && !is_gptq, "damping",
         fmt::format("with method {}: gptq has a Hessian to damp", method->name));
  refuse(draft.strength && q.scaling != InputScaling::smooth_quant, "strength",
         fmt::format("with method {}: smoothquant has it", method->name));
  const bool is_mixed = !q.widths.empty();
  refuse(is_mixed && draft.weights, "weights", "beside mixed.widths, which has the formats");
  refuse(is_mixed && draft.group, "group", "beside mixed.widths, which has the groups (int4:64)");
  refuse(is_mixed && draft.is_asymmetric, "asymmetric", "beside mixed.widths (int4:64:asymmetric)");
  refuse(!is_mixed && q.budget_bits, "mixed.budget-bits", "without mixed.widths");
  refuse(!is_mixed && q.budget_damage, "mixed.budget-damage", "without mixed.widths");
  if (is_mixed && q.budget_bits.has_value() == q.budget_damage.has_value())
    errors.push_back(
        fmt::format("{}mixed.widths needs one of mixed.budget-bits and mixed.budget-damage", where));
}

void finish_qat(const StepDraft& draft, const std::string& where, QatStep& qat,
                std::vector<std::string>& errors) {
  qat.steps = draft.qat_steps.value_or(0);
  if (!draft.qat_steps) errors.push_back(fmt::format("{}steps is missing: how long qat trains", where));
  if (draft.has_quantization())
    errors.push_back(fmt::format(
        "{}method is qat, which trains through the formats of the step before it: other keys of quantization "
        "have no effect",
        where));
}

void finish_export(const StepDraft& draft, const std::string& where, ExportStep& exported,
                   std::vector<std::string>& errors) {
  exported = {draft.format, draft.type};
  if (draft.format.empty())
    errors.push_back(fmt::format("{}format is missing: compressed-tensors, gptq, awq or gguf", where));
  if (draft.format == "gguf" && draft.type.empty())
    errors.push_back(fmt::format("{}type is missing: q8_0, q4_0 or q4_k_m", where));
  if (!draft.format.empty() && draft.format != "gguf" && !draft.type.empty())
    errors.push_back(fmt::format("{}type has no effect with format {}: gguf has types", where, draft.format));
  if (draft.has_quantization())
    errors.push_back(
        fmt::format("{}method is export, which writes what the steps before it made: keys of quantization "
                    "have no effect",
                    where));
}

}  // namespace

RecipeStep finish(const StepDraft& draft, const std::string& where, std::vector<std::string>& errors) {
  RecipeStep step = draft.step;
  step.kind = draft.method == "qat"      ? StepKind::qat
              : draft.method == "export" ? StepKind::export_model
                                         : StepKind::quantize;
  if (step.kind == StepKind::quantize) finish_quantize(draft, where, step.quantize, errors);
  if (step.kind == StepKind::qat) finish_qat(draft, where, step.qat, errors);
  if (step.kind == StepKind::export_model) finish_export(draft, where, step.exported, errors);
  if (step.kind != StepKind::qat && draft.qat_steps)
    errors.push_back(fmt::format("{}steps has no effect without method qat", where));
  if (step.kind != StepKind::export_model && !draft.format.empty())
    errors.push_back(fmt::format("{}format has no effect without method export", where));
  return step;
}

}  // namespace trireme::launch
