// How many units of a model stay for the amounts that a step names.
#pragma once

#include "launch/compress/recipe.h"
#include "models/compress/structured/cut.h"
#include "models/config/model_config.h"

namespace trireme::launch {

/// A part is rounded to the nearest number: of neurons to multiples that groups of weights and kernels divide
/// (the largest power of two up to 64 that divides those there are at least eight times), of heads to as many
/// of each key-value head, of experts to as many of each group. UserError (usage) where it rounds to none
/// that goes, and as counts_after() for what the model does not have.
StructuredCut numbers_of(const CutStep& step, const ModelConfig& config);

/// "512 of 768 neurons stay (multiples of 64)".
std::string text_of(const StructuredCut& cut, const ModelConfig& config);

/// The config that a cut leaves, whichever units stay. Errors of cut_config().
ModelConfig planned_config(const ModelConfig& config, const StructuredCut& cut);

}  // namespace trireme::launch
