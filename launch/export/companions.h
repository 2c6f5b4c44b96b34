// The files beside a model's weights: configuration, tokenizer, licence.
#pragma once

#include <string>
#include <vector>

#include "launch/export/exported_model.h"

namespace trireme::launch {

/// Copies what goes with the model from model.source (goes_with_model(), but config.json and metadata.gguf)
/// into `directory`, as it is. Where that has no tokenizer, the run's is written (export_tokenizer()), with
/// tokenizer_config.json and generation_config.json where these are not there. Returns sentences on what is
/// missing: no tokenizer is known. UserError (usage) as export_tokenizer(); EnvironmentError (resources) of
/// the disk.
std::vector<std::string> write_companions(const ExportedModel& model, const std::string& directory);

}  // namespace trireme::launch
