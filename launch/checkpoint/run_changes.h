// Differences between a saved run and the one that resumes from it.
#pragma once

#include <string>
#include <vector>

#include "runtime/io/safetensors/safetensors.h"

namespace trireme::launch {

struct RunChanges {
  /// What is not changed by accident: model, data, tokenizer, seed, and what the order of samples depends on.
  std::vector<std::string> refused;
  std::vector<std::string> passed;  ///< what may change, for the log
};

/// Of the options of both by their keys, and of what is known of their data. A sentence each:
/// "model.layers: 4 in the checkpoint, 6 here". Options of where and how fast a run goes are not compared.
RunChanges compare_runs(const TextMap& saved, const TextMap& now);

}  // namespace trireme::launch
