// The directory of a compressed model, but for its weights: what a run's directory has.
#pragma once

#include <string>

#include "launch/generate/model_files.h"

namespace trireme::launch {

/// The config.ini of the run that a model is of; empty: it is of none.
std::string run_config_of(const std::string& model);

/// A configuration of a run: the run's own that the base is of, else one as trireme import makes it; for
/// `model`, which steps may have made of the base, and without training through quantization, pruning and
/// teachers. UserError (bad_input) where that cannot be read.
std::string config_text(const ModelFiles& files, const ModelConfig& model);

/// Writes config.ini, tokenizer.json where there is a tokenizer, and source/ where something came with the
/// model, of `model` into `directory`. UserError (bad_input) where these cannot be read.
void write_own_directory(const ModelFiles& files, const ModelConfig& model, const std::string& directory);

}  // namespace trireme::launch
