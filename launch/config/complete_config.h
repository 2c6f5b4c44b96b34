// Completes and validates a configuration.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "models/config/batch_spec.h"

namespace trireme::launch {

/// Fills in what follows from the rest: key-value heads, feed-forward width and positions (unless named in
/// `given`, keys like "model.ffn"), the sequence length, the data-parallel degree and the global batch.
/// `num_ranks`: all of the job, those of a teacher too (distill.ranks).
/// Returns every error of model, layout, batch arithmetic, data and optimizer, each with its numbers and the
/// nearest values that work. Completing a complete configuration changes nothing.
std::vector<std::string> complete(RunConfig& config, const std::set<std::string>& given, int num_ranks,
                                  bool needs_data);

/// Tokens of the vocabulary as far as it is known before any data is read: the model's, or the tokenizer's to
/// be made. 0: not known yet.
int64_t known_vocab_size(const RunConfig& config);
/// The model with it.
ModelConfig known_model(const RunConfig& config);

BatchSpec batch_of(const RunConfig& config);

}  // namespace trireme::launch
