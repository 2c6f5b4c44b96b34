// What of a model pruning may make zero.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/plan/parameter_rules.h"
#include "parallel/pruning/prunable.h"
#include "parallel/pruning/prune_config.h"

namespace trireme {

/// Whether one of the patterns (* stands for any characters) is the name's.
bool is_skipped(const PruneConfig& config, std::string_view name);

/// The matrices of the blocks' linear layers, of experts too; no token table, positions, head, router or
/// norm, none that is frozen by `rules` or skipped. Where units are more than weights, the units of each part
/// of a block (or expert) that has none of these: neurons with their biases, query heads with theirs, or
/// key-value heads with all that is theirs. The matrices are then those of these parts.
Prunable prunable_of(const ModelSpec& spec, const PruneConfig& config, std::span<const ParameterRule> rules);

}  // namespace trireme
