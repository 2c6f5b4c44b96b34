// Weights of a directory that Hugging Face's transformers or hub wrote.
#pragma once

#include <memory>
#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// `path`: the directory, or one file in it. Maps model.safetensors, or the files that
/// model.safetensors.index.json names; symbolic links are followed, as the hub's cache has them. The
/// architecture is that of config.json beside them. UserError (bad_input) naming file and tensor for what
/// SafetensorsReader refuses, files of the index with
/// "/" or "..", that are missing, or that have other tensors than the index says; for pickled weights
/// (.bin, .pt) with the command that converts them.
std::unique_ptr<WeightSource> open_hf_weights(const std::string& path, const ModelConfig& config);

}  // namespace trireme
