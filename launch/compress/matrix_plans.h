// Which matrices a step quantizes, and how.
#pragma once

#include <string_view>

#include "launch/compress/recipe.h"
#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme::launch {

/// Whether `name` is what `pattern` describes, in which * stands for any characters, none among them.
bool matches(std::string_view pattern, std::string_view name);

/// Of the matrix of this name: layers' by the step's rounding, token table and head by formats of their own
/// (the table rounded to nearest always), routers and tables of positions never, nor what a pattern of `skip`
/// names.
MatrixPlan plan_of(const QuantizeStep& step, std::string_view name);

/// The same of a step that prunes: matrices of layers, but for routers and what `skip` names.
MatrixPlan plan_of(const PruneStep& step, std::string_view name);

/// Whether a step asks for calibration: rounding to nearest within each group's range asks for the weights
/// alone.
bool needs_samples(const QuantizeStep& step);
/// Magnitudes need the weights alone.
bool needs_samples(const PruneStep& step);

/// What is wrong with a step for this model and these weights: patterns that no matrix has, a head that is
/// tied, groups that do not divide, nothing left to quantize; empty: nothing.
std::vector<std::string> errors_of(const QuantizeStep& step, const ModelConfig& config,
                                   const WeightSource& source);

/// The same of a step that prunes: patterns that no matrix has, nothing left to prune.
std::vector<std::string> errors_of(const PruneStep& step, const ModelConfig& config);

/// Why formats of the recipe's exports cannot hold what its steps make of the model, before any of it is
/// made; of mixed widths, which are not known yet, they say so when it is their turn.
std::vector<std::string> export_errors(const Recipe& recipe, const ModelConfig& config,
                                       const WeightSource& source);

}  // namespace trireme::launch
