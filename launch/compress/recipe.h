// A recipe of compression: steps in a row, each gated.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/compress/prune_matrix.h"
#include "models/compress/quantize_model.h"
#include "models/compress/structured/fold.h"
#include "models/formats/quantized/quantized_files.h"

namespace trireme::launch {

enum class StepKind : uint8_t { prune, cut, share, train, quantize, qat, export_model };

/// Limits on what a step may lose against the base; the chain ends with exit code 8 where one is exceeded.
struct Gate {
  std::optional<double> perplexity = {};  ///< rise at most, as a part of the base's: 0.02 of "+2%"
  std::optional<double> divergence = {};  ///< mean KL(base || step) at most, nats a token
  std::optional<double> same_top = {};    ///< share at least
  std::optional<double> size = {};        ///< bytes at most, as a part of the base's fp32 file
};

struct QuantizeStep {
  InputScaling scaling = InputScaling::none;
  double strength = 0.5;
  RoundingOptions rounding;
  ops::Activations activations =
      ops::Activations::int8;  ///< with which the result is calibrated and measured
  bool sequential = true;
  std::vector<std::string> skip;  ///< patterns with *, of names of matrices
  /// Of the token table and the head; nothing: as they are.
  std::optional<ops::PackedSpec> embedding, head;
  /// Mixed widths.
  std::vector<ops::PackedSpec> widths;
  std::optional<double> budget_bits;    ///< mean bits a weight, scales included, at most
  std::optional<double> budget_damage;  ///< nats a token at most
};

/// Weights to zero.
struct PruneStep {
  PruneOptions options;
  bool sequential = true;
  bool is_global = false;         ///< options.sparsity is that of all matrices together, chosen by layer
  std::vector<std::string> skip;  ///< patterns with *, of names of matrices
};

/// How many of a kind of units are cut: a part of them goes ("30%"), or a number of them stays ("4").
/// Neither: all stay.
struct CutAmount {
  double part = 0;   ///< in (0, 1)
  int64_t stay = 0;  ///< of each layer, or of the model

  explicit operator bool() const { return part > 0 || stay > 0; }
};

/// Units out of the model.
struct CutStep {
  CutAmount layers = {}, kv_groups = {}, heads = {}, neurons = {}, experts = {};
};

/// Whose weights a set of layers takes: of whichever layer, or their mean, the loss on the calibration
/// samples is least; of the layer that is most like the others; or the mean.
enum class FoldValues : uint8_t { measured, best, mean };

/// Layers that come to share weights; one of `layers` and `size`.
struct ShareStep {
  CutAmount layers = {};            ///< with weights of their own
  std::optional<double> size = {};  ///< parameters at most, as a part of those there were
  FoldGrouping grouping = FoldGrouping::adjacent;
  FoldValues values = FoldValues::measured;
};

/// Training back what a step before it took, with the model as it came as the teacher, or without one. Zeros
/// of steps before stay zero.
struct TrainStep {
  int64_t steps = 0;
  bool distills = true;
  std::vector<std::string> train_options;  ///< of trireme train, "--optimizer.lr=1e-4", "--distill.weight=1"
};

struct QatStep {
  int64_t steps = 0;
  std::vector<std::string> train_options;  ///< of trireme train, "--optimizer.lr=1e-4"
};

struct ExportStep {
  std::string format;  ///< compressed-tensors, gptq, awq, gguf; written as OUT/FORMAT
  std::string type;    ///< of gguf: q8_0, q4_0, q4_k_m
};

struct RecipeStep {
  std::string name;  ///< of its section, [step NAME]
  StepKind kind = StepKind::quantize;
  PruneStep prune;
  CutStep cut;
  ShareStep share;
  TrainStep train;
  QuantizeStep quantize;
  QatStep qat;
  ExportStep exported;
  Gate gate;
};

struct Calibration {
  std::string text;  ///< text, .jsonl ("text" of each line) or token file; empty: the default text
  int64_t samples = 128, seq_len = 0;  ///< 0: 512, at most the model's
  uint64_t seed = 1;
  bool all_experts = false;  ///< every expert is calibrated on all tokens
};

struct Recipe {
  std::string name;
  Calibration calibration;
  std::vector<RecipeStep> steps;
};

/// int8, int4, edge, small, shared.
std::vector<std::string> recipe_names();
/// The text of one of these, as a file would have it; UserError (usage) with these names.
std::string named_recipe_text(std::string_view name);
Recipe named_recipe(std::string_view name);
/// INI sections: [calibration] and [step NAME] of any number, in their order. UserError (bad_input) naming
/// line, section and key, all that is wrong at once.
Recipe parse_recipe(std::string_view text, const std::string& file);
Recipe read_recipe(const std::string& file);

/// What is wrong with the order of steps, each sentence with the step's name: units are cut and folded before
/// weights become zero, and both before anything is quantized; what trains back stands between, training
/// through formats behind; exports come last. Empty: nothing.
std::vector<std::string> order_errors(const Recipe& recipe);
/// Whether a step before `index` makes weights zero.
bool is_sparse_before(const Recipe& recipe, size_t index);

/// "awq int4 in groups of 64, token table int8": what a step does, in a line.
std::string describe(const RecipeStep& step);
/// All that the step's result depends on: equal texts, equal steps.
std::string canonical(const RecipeStep& step);

}  // namespace trireme::launch
