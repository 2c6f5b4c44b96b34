// The model that the weights of --init-from are of, as settings: what a run begins with that says nothing of
// its own.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/cli/options/option.h"
#include "launch/cli/setting.h"

namespace trireme::launch {

struct ModelSource {
  std::string described_in;       ///< "DIR/config.json"
  std::vector<Setting> settings;  ///< of the options model.* and moe.*, and data.tokenizer
  /// The model of another program's files: no option may make another of it.
  std::optional<ModelConfig> model;
};

/// Of a directory of transformers, or a run's that has config.ini. Nothing for files and directories that
/// describe no model, and where there is nothing at `path`. UserError (bad_input) as read_hf_config().
std::optional<ModelSource> read_model_source(const std::string& path, std::span<const Option> options);

/// The error for each option of `config` that makes another model than the source's, the vocabulary apart
/// where it is not known yet.
std::vector<std::string> contradictions(const ModelSource& source, const RunConfig& config);

}  // namespace trireme::launch
