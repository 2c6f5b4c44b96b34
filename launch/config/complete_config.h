// What a configuration leaves open, and what is wrong with it as a whole.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme {

/// Fills in what follows from the rest: key-value heads, feed-forward width and positions (unless named in
/// `given`, keys like "model.ffn"), the sequence length, the data-parallel degree and the global batch.
/// Returns every fault of model, layout, batch arithmetic, data and optimizer, each with its numbers and the
/// nearest values that work. Completing a complete configuration changes nothing.
std::vector<std::string> complete(RunConfig& config, const std::set<std::string>& given, int world_size,
                                  bool needs_data);

/// The part of it that depends on the ranks: sets the data-parallel degree and the global batch where they
/// are 0, and returns the faults of degrees and batch and, where the model has none of its own, of what they
/// divide and of the pipeline.
std::vector<std::string> layout_faults(RunConfig& config, int world_size, bool model_is_sound = true);

/// Tokens of the vocabulary as far as it is known before any data is read: the model's, or the tokenizer's to
/// be made. 0: not known yet.
int64_t known_vocab_size(const RunConfig& config);

}  // namespace trireme
