// Weights to begin with, of whatever kind the path is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// What a path given as --init-from is.
enum class ModelFormat : uint8_t { checkpoint, own_file, hugging_face, gguf };

struct WeightPlace {
  ModelFormat format;
  std::string path;  ///< the checkpoint's or Hugging Face's directory, or the file
};

/// A GGUF file; a directory of transformers; a single .safetensors with transformers' names and config.json
/// beside it, which is its directory; else find_initial_weights(). UserError (bad_input) where there is
/// nothing of these, and for pickled weights with the command that converts them.
WeightPlace find_weights(const std::string& path);

/// The model that the files beside the weights describe (config.json); nothing for this program's own.
/// UserError (bad_input) naming all that cannot be represented.
std::optional<ModelConfig> model_of(const WeightPlace& place);

/// The file beside which tokenizer.json lies, if there is one.
std::string file_of(const WeightPlace& place);

/// Opens them for this model (without experts, where it is to begin with a dense model's weights). Each rank
/// does so for itself; of a checkpoint load_initial_weights() reads each byte once among all ranks. Errors of
/// the format.
std::unique_ptr<WeightSource> open_weights(const WeightPlace& place, const ModelConfig& config);

}  // namespace trireme
