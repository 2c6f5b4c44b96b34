// The keys of a recipe's sections, which are the options of a single step as well: one table for both.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/cli/plain_arguments.h"
#include "launch/compress/recipe.h"

namespace trireme::launch {

/// A step as its keys are read, before it is known what goes together.
struct StepDraft {
  RecipeStep step;
  std::string method;  ///< empty: none was given
  std::optional<ops::PackedFormat> weights;
  std::optional<int64_t> group, training_steps;
  std::optional<ColumnOrder> order;
  std::optional<double> damping, strength;
  std::optional<bool> is_asymmetric, clips, is_sequential;
  std::optional<ops::Activations> activations;
  std::optional<double> sparsity;
  std::optional<PruneScope> scope;
  std::optional<bool> is_global;
  std::optional<FoldGrouping> grouping;
  std::optional<FoldValues> values;
  std::string format, type;  ///< of an export

  /// The keys that were given, the method apart.
  std::vector<std::string> given_keys() const;
};

/// Rows for help and parser; `draft`, `gate` and `calibration` outlive them. Of steps that quantize, and of
/// those that prune, cut or share.
std::vector<PlainOption> method_keys(StepDraft& draft);
std::vector<PlainOption> prune_keys(StepDraft& draft);
std::vector<PlainOption> gate_keys(Gate& gate);
std::vector<PlainOption> calibration_keys(Calibration& calibration);
/// Of steps in recipes alone: of training and exports.
std::vector<PlainOption> recipe_only_keys(StepDraft& draft);

/// The step that the keys describe. Adds to `errors`, each behind `where` ("--" before keys), what does not
/// go together, keys without effect, and what is missing.
RecipeStep finish(const StepDraft& draft, const std::string& where, std::vector<std::string>& errors);

/// "int8", "int4:64", "int4:32:asymmetric", "fp8"; nothing where it is none of these. And the reverse.
std::optional<ops::PackedSpec> parse_spec(const std::string& text);
std::string spec_text(const ops::PackedSpec& spec);
/// "30%": so many go; "4": so many stay; nothing where it is neither. And the reverse.
std::optional<CutAmount> parse_amount(const std::string& text);
std::string amount_text(const CutAmount& amount);
/// "2%", "+2%", "0.02" and "1/6" as a part; nothing where it is none.
std::optional<double> parse_part(std::string text);

}  // namespace trireme::launch
