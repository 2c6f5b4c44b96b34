// The directory of a compressed model, but for its weights: what a run's directory has.
#pragma once

#include <string>

#include "launch/generate/model_files.h"

namespace trireme::launch {

/// Writes config.ini, tokenizer.json where there is a tokenizer, and source/ where something came with the
/// model, into `directory`. A run's own are copied, of other programs' models they are made as trireme import
/// makes them. UserError (bad_input) where these cannot be read.
void write_own_directory(const ModelFiles& files, const std::string& directory);

}  // namespace trireme::launch
