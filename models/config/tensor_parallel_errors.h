// Which tensor-parallel degrees a model allows.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"

namespace trireme {

/// Why `config` (without errors of its own) cannot be sharded over `tensor` ranks, each error with the
/// numbers and the nearest degrees that work; empty when it can. Heads must divide; key-value heads must
/// divide or be divided (several ranks then hold copies of one); feed-forward width and vocabulary need not
/// divide, but leave no rank without any; the same holds for the width of experts over `expert_tensor` ranks
/// (0: as many). A vocabulary of 0 is not known yet and passes.
std::vector<std::string> tensor_parallel_errors(const ModelConfig& config, int tensor, int expert_tensor = 0);

/// The same for rows (tokens of a micro-batch) that sequence parallelism divides over `tensor` ranks, where
/// each of `context` ranks holds its part of the sequence (without errors of its own).
std::vector<std::string> sequence_parallel_errors(int64_t micro_batch, int64_t seq_len, int tensor,
                                                  int context = 1);

}  // namespace trireme
