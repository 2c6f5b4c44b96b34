// What steps do, in words, and in which order they may come.
#include <algorithm>

#include <fmt/ranges.h>

#include "launch/compress/recipe.h"
#include "launch/compress/recipe_keys.h"
#include "launch/compress/step_methods.h"

namespace trireme::launch {

namespace {

std::string describe_quantize(const QuantizeStep& q) {
  std::string text = q.scaling == InputScaling::awq            ? "awq, "
                     : q.scaling == InputScaling::smooth_quant ? "smoothquant, "
                                                               : "";
  text += q.rounding.method == RoundingMethod::gptq ? "gptq: " : "nearest: ";
  if (q.widths.empty()) {
    text += ops::to_string(q.rounding.spec);
  } else {
    for (size_t i = 0; i < q.widths.size(); ++i) text += (i == 0 ? "" : " or ") + ops::to_string(q.widths[i]);
  }
  if (q.embedding) text += "; token table " + ops::to_string(*q.embedding);
  if (q.head) text += "; head " + ops::to_string(*q.head);
  if (!q.skip.empty()) text += fmt::format("; without {}", fmt::join(q.skip, ", "));
  constexpr const char* kActivations[] = {"exact activations", "activations int8", "activations int8-rows"};
  return text + "; " + kActivations[static_cast<size_t>(q.activations)];
}

std::string describe_prune(const PruneStep& prune) {
  const PruneOptions& options = prune.options;
  const auto method =
      std::ranges::find_if(kPruneMethods, [&](const auto& m) { return m.second == options.method; });
  std::string text = fmt::format("{}: ", method->first);
  text += options.of > 0 ? fmt::format("{} zeros of every {} inputs", options.zeros, options.of)
                         : fmt::format("{:g} % zeros", 100 * options.sparsity);
  if (options.scope != PruneScope::automatic)
    text += options.scope == PruneScope::output ? ", of each output" : ", of each matrix";
  if (prune.is_global) text += ", of all matrices together";
  if (!prune.skip.empty()) text += fmt::format("; without {}", fmt::join(prune.skip, ", "));
  return text;
}

std::string describe_cut(const CutStep& cut) {
  std::string text;
  const auto add = [&](const CutAmount& amount, const char* units) {
    if (!amount) return;
    text += text.empty() ? "" : ", ";
    text += amount.stay > 0 ? fmt::format("{} {} stay", amount.stay, units)
                            : fmt::format("{} of the {} go", amount_text(amount), units);
  };
  add(cut.layers, "layers");
  add(cut.experts, "experts");
  add(cut.kv_groups, "key-value groups");
  add(cut.heads, "heads");
  add(cut.neurons, "neurons");
  return "cut: " + text;
}

std::string describe_share(const ShareStep& share) {
  std::string text = "share: ";
  if (share.size)
    text += fmt::format("{:.4g} of the parameters stay", *share.size);
  else if (share.layers.stay > 0)
    text += fmt::format("{} layers keep weights of their own", share.layers.stay);
  else
    text += fmt::format("{} of the layers lose weights of their own", amount_text(share.layers));
  constexpr const char* kValues[] = {"measured", "of the most like", "mean"};
  return text + fmt::format("; {}, weights {}",
                            share.grouping == FoldGrouping::adjacent ? "neighbours" : "by likeness",
                            kValues[static_cast<size_t>(share.values)]);
}

std::string describe_training(const TrainStep& train) {
  return fmt::format("{}, {} steps", train.distills ? "distilled" : "trained", train.steps);
}

const char* doing(StepKind kind) {
  switch (kind) {
    case StepKind::cut:
      return "cuts units";
    case StepKind::share:
      return "shares weights";
    case StepKind::prune:
      return "makes weights zero";
    case StepKind::train:
      return "trains";
    case StepKind::quantize:
      return "quantizes";
    case StepKind::qat:
      return "trains through formats";
    case StepKind::export_model:
      return "exports";
  }
  return "";
}

/// The first step before `index` of one of these kinds; null: none.
const RecipeStep* step_before(const Recipe& recipe, size_t index, std::initializer_list<StepKind> kinds) {
  for (size_t i = 0; i < index; ++i) {
    if (std::ranges::find(kinds, recipe.steps[i].kind) != kinds.end()) return &recipe.steps[i];
  }
  return nullptr;
}

/// What must not come before a step of this kind; and why, for people.
std::string misplaced(const Recipe& recipe, size_t index) {
  const RecipeStep& step = recipe.steps[index];
  const RecipeStep* earlier = nullptr;
  std::string why;
  if (step.kind == StepKind::cut || step.kind == StepKind::share) {
    earlier = step_before(recipe, index, {StepKind::prune, StepKind::quantize, StepKind::qat});
    why = step.kind == StepKind::cut ? "cut first, then prune, then quantize"
                                     : "share first, then prune, then quantize";
  } else if (step.kind == StepKind::prune) {
    earlier = step_before(recipe, index, {StepKind::quantize, StepKind::qat});
    why = "prune first, then quantize";
  } else if (step.kind == StepKind::train) {
    earlier = step_before(recipe, index, {StepKind::quantize, StepKind::qat});
    why = "train before it, or through its format with method qat";
  }
  if (earlier == nullptr) return "";
  return fmt::format("[step {}] {} behind [step {}], which {}: {}", step.name, doing(step.kind),
                     earlier->name, doing(earlier->kind), why);
}

/// What has to come before a step of this kind.
std::string without_ground(const Recipe& recipe, size_t index) {
  const RecipeStep& step = recipe.steps[index];
  const bool is_quantized = step_before(recipe, index, {StepKind::quantize}) != nullptr;
  if (step.kind == StepKind::qat && !is_quantized)
    return fmt::format("[step {}] comes before any step that quantizes", step.name);
  if (step.kind == StepKind::train &&
      step_before(recipe, index, {StepKind::cut, StepKind::share, StepKind::prune}) == nullptr)
    return fmt::format(
        "[step {}] comes before any step that cuts, shares or prunes: there is nothing to train back",
        step.name);
  if (step.kind != StepKind::export_model) return "";
  const RecipeStep* made = step_before(
      recipe, index, {StepKind::cut, StepKind::share, StepKind::prune, StepKind::train, StepKind::quantize});
  if (made == nullptr) return fmt::format("[step {}] comes before any other step", step.name);
  if (!is_quantized && step.exported.format != "gguf")
    return fmt::format(
        "[step {}] exports codes to {}, and no step quantizes: trireme checkpoint export "
        "writes models of floats for transformers",
        step.name, step.exported.format);
  return "";
}

}  // namespace

std::vector<std::string> order_errors(const Recipe& recipe) {
  std::vector<std::string> errors;
  for (size_t i = 0; i < recipe.steps.size(); ++i) {
    for (const std::string& error : {misplaced(recipe, i), without_ground(recipe, i)}) {
      if (!error.empty()) errors.push_back(error);
    }
  }
  const auto is_export = [](const RecipeStep& step) { return step.kind == StepKind::export_model; };
  const auto first = std::ranges::find_if(recipe.steps, is_export);
  if (!std::all_of(first, recipe.steps.end(), is_export)) errors.emplace_back("steps that export come last");
  return errors;
}

bool is_sparse_before(const Recipe& recipe, size_t index) {
  return step_before(recipe, index, {StepKind::prune}) != nullptr;
}

std::string describe(const RecipeStep& step) {
  switch (step.kind) {
    case StepKind::prune:
      return describe_prune(step.prune);
    case StepKind::cut:
      return describe_cut(step.cut);
    case StepKind::share:
      return describe_share(step.share);
    case StepKind::train:
      return describe_training(step.train);
    case StepKind::quantize:
      return describe_quantize(step.quantize);
    case StepKind::qat:
      return fmt::format("training through it, {} steps", step.qat.steps);
    case StepKind::export_model:
      break;
  }
  const std::string type = step.exported.type.empty() ? "" : fmt::format(" ({})", step.exported.type);
  return fmt::format("export to {}{}", step.exported.format, type);
}

std::string canonical(const RecipeStep& step) {
  std::string text = describe(step);
  if (step.kind == StepKind::qat) return fmt::format("{} {}", text, fmt::join(step.qat.train_options, " "));
  if (step.kind == StepKind::train)
    return fmt::format("{} {}", text, fmt::join(step.train.train_options, " "));
  if (step.kind == StepKind::prune)
    return fmt::format("{}; damping {}, sequential {}", text, step.prune.options.damping,
                       step.prune.sequential ? "on" : "off");
  if (step.kind != StepKind::quantize) return text;
  const QuantizeStep& q = step.quantize;
  constexpr const char* kOrders[] = {"as-is", "static-groups", "groups"};
  text += fmt::format("; order {}, damping {}, clips {}, strength {}, sequential {}",
                      kOrders[static_cast<size_t>(q.rounding.order)], q.rounding.damping,
                      q.rounding.clips ? "on" : "off", q.strength, q.sequential ? "on" : "off");
  if (q.budget_bits) text += fmt::format("; at most {} bits", *q.budget_bits);
  if (q.budget_damage) text += fmt::format("; damage at most {}", *q.budget_damage);
  return text;
}

}  // namespace trireme::launch
