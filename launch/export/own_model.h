// The model of a run or checkpoint of this program, by its options.
#pragma once

#include <filesystem>
#include <string>

#include "models/config/model_config.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme::launch {

/// The model that options of these texts ("model.layers") describe; `where` names them in messages.
/// UserError (bad_input) for texts that are none of an option's.
ModelConfig model_of_options(const TextMap& options, const std::string& where);

/// The same of a run's config.ini.
ModelConfig model_of_ini(const std::string& config_ini);

/// What the run was trained through, which model_of_options() and model_of_ini() leave out.
QuantizationConfig quantization_of_options(const TextMap& options, const std::string& where);
QuantizationConfig quantization_of_ini(const std::string& config_ini);

/// RUN of RUN/checkpoints/step-N, and of RUN itself; empty where that is no run.
std::filesystem::path run_of(const std::filesystem::path& checkpoint);

}  // namespace trireme::launch
