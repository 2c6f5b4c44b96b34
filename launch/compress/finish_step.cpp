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

void finish_prune(const StepDraft& draft, const std::string& where, PruneStep& prune,
                  std::vector<std::string>& errors) {
  const auto method =
      std::ranges::find_if(kPruneMethods, [&](const auto& m) { return draft.method == m.first; });
  PruneOptions& options = prune.options;
  const auto refuse = [&](bool is_given, const char* key, const char* why) {
    if (is_given) errors.push_back(fmt::format("{}{} has no effect {}", where, key, why));
  };
  const bool has_pattern = options.of > 0, is_sparsegpt = method->second == PruneMethod::sparsegpt;
  options.method = method->second;
  options.sparsity = draft.sparsity.value_or(0.5);
  options.scope = draft.scope.value_or(PruneScope::automatic);
  options.damping = draft.damping.value_or(0.01);
  prune.sequential = draft.is_sequential.value_or(true);
  prune.is_global = draft.is_global.value_or(false);
  prune.skip = draft.step.quantize.skip;
  refuse(has_pattern && draft.sparsity, "sparsity", "beside pattern, which has the number of zeros");
  refuse(has_pattern && draft.scope, "scope", "beside pattern, which chooses among neighbouring inputs");
  refuse(has_pattern && prune.is_global, "global", "beside pattern, whose zeros are as many everywhere");
  refuse(draft.damping && !is_sparsegpt, "damping", "without method sparsegpt, which has a Hessian to damp");
  refuse(draft.scope && is_sparsegpt, "scope", "with method sparsegpt, which chooses by blocks of columns");
}

void finish_cut(const StepDraft& draft, const std::string& where, std::vector<std::string>& errors) {
  const CutStep& cut = draft.step.cut;
  if (!cut.layers && !cut.kv_groups && !cut.heads && !cut.neurons && !cut.experts)
    errors.push_back(
        fmt::format("{}method is cut, and nothing is: neurons, heads, kv-groups, experts or layers", where));
}

void finish_share(const StepDraft& draft, const std::string& where, ShareStep& share,
                  std::vector<std::string>& errors) {
  share.layers = draft.step.cut.layers;
  share.grouping = draft.grouping.value_or(FoldGrouping::adjacent);
  share.values = draft.values.value_or(FoldValues::measured);
  if (bool(share.layers) == share.size.has_value())
    errors.push_back(
        fmt::format("{}method share needs one of layers (how many have weights of their own) and size "
                    "(the part of the parameters that is left)",
                    where));
}

void finish_training(const StepDraft& draft, const std::string& where, RecipeStep& step,
                     std::vector<std::string>& errors) {
  if (!draft.training_steps) errors.push_back(fmt::format("{}steps is missing: how long it trains", where));
  step.qat.steps = step.train.steps = draft.training_steps.value_or(0);
  step.train.distills = draft.method == "distill";
  const auto is_of_teacher = [](const std::string& option) { return option.starts_with("--distill."); };
  if (draft.method == "train" && std::ranges::any_of(step.train.train_options, is_of_teacher))
    errors.push_back(fmt::format(
        "{}distill.* has no effect with method train, which trains alone: distill has a teacher", where));
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
}

StepKind kind_of(const std::string& method) {
  for (const auto& [name, pruning] : kPruneMethods) {
    if (method == name) return StepKind::prune;
  }
  for (const OtherMethod& other : kOtherMethods) {
    if (method == other.name) return other.kind;
  }
  return StepKind::quantize;
}

/// The keys of a kind of step, and its methods for people.
struct KindKeys {
  StepKind kind;
  const char* methods;
  std::vector<std::string_view> keys;
};

const std::vector<KindKeys>& keys_of_kinds() {
  static const std::vector<KindKeys> kKinds = {
      {StepKind::quantize,
       "those that quantize",
       {"weights", "group", "asymmetric", "embedding", "head", "skip", "activations", "mixed.widths",
        "mixed.budget-bits", "mixed.budget-damage", "order", "damping", "clips", "strength", "sequential"}},
      {StepKind::prune,
       "magnitude, wanda, sparsegpt",
       {"sparsity", "pattern", "scope", "global", "skip", "damping", "sequential"}},
      {StepKind::cut, "cut", {"neurons", "heads", "kv-groups", "experts", "layers"}},
      {StepKind::share, "share", {"layers", "size", "grouping", "values"}},
      {StepKind::train, "distill, train", {"steps"}},
      {StepKind::qat, "qat", {"steps"}},
      {StepKind::export_model, "export", {"format", "type"}}};
  return kKinds;
}

bool has_key(const KindKeys& kind, std::string_view key) {
  return std::ranges::find(kind.keys, key) != kind.keys.end();
}

void refuse_keys_of_others(const StepDraft& draft, StepKind kind, const std::string& where,
                           std::vector<std::string>& errors) {
  const std::vector<KindKeys>& kinds = keys_of_kinds();
  const auto own = std::ranges::find(kinds, kind, &KindKeys::kind);
  for (const std::string& key : draft.given_keys()) {
    if (has_key(*own, key)) continue;
    std::string having;
    for (const KindKeys& other : kinds) {
      if (has_key(other, key)) having += fmt::format("{}{}", having.empty() ? "" : ", ", other.methods);
    }
    errors.push_back(fmt::format("{}{} has no effect with method {}: {} have it", where, key,
                                 draft.method.empty() ? "gptq" : draft.method, having));
  }
}

}  // namespace

RecipeStep finish(const StepDraft& draft, const std::string& where, std::vector<std::string>& errors) {
  RecipeStep step = draft.step;
  step.kind = kind_of(draft.method);
  refuse_keys_of_others(draft, step.kind, where, errors);
  if (step.kind == StepKind::quantize) finish_quantize(draft, where, step.quantize, errors);
  if (step.kind == StepKind::prune) finish_prune(draft, where, step.prune, errors);
  if (step.kind == StepKind::cut) finish_cut(draft, where, errors);
  if (step.kind == StepKind::share) finish_share(draft, where, step.share, errors);
  if (step.kind == StepKind::train || step.kind == StepKind::qat) finish_training(draft, where, step, errors);
  if (step.kind == StepKind::export_model) finish_export(draft, where, step.exported, errors);
  return step;
}

}  // namespace trireme::launch
