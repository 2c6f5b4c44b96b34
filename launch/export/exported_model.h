// What trireme checkpoint export has to write: a model with its weights, and the files that came with it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "models/formats/parameter_values.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme::launch {

struct ExportedModel {
  std::string path;        ///< of the checkpoint, or of the file of weights
  std::string checkpoint;  ///< of the checkpoint; empty: a run's weights alone
  ModelConfig config;      ///< vocab_size is the rows of the token table
  ParameterValues values;  ///< f32, one tensor at a time; hashes are checked where there are some
  /// Of a run whose weights are quantized: they themselves. Null: they are numbers.
  std::shared_ptr<const WeightSource> quantized = nullptr;
  ops::Activations activations = ops::Activations::exact;  ///< that it was quantized for
  ParameterCodes codes;  ///< of what is there as codes, which formats of integers keep as they are
  /// Directory with config.json, generation_config.json, a tokenizer and licenses, or metadata.gguf, of the
  /// model that training began with; empty: there is none.
  std::string source;
  std::string tokenizer;  ///< the run's tokenizer.json; empty: there is none
};

/// `path`: a checkpoint, a directory of checkpoints or a run's directory (find_checkpoints()), or one with
/// config.ini and model.safetensors alone, as trireme import leaves it. `source`: of --source; empty: the
/// run's source/. UserError (checkpoint, bad_input) for what is not there or damaged, and for weights that
/// are not of the model that the options describe; (usage) for a `source` that is no directory.
ExportedModel open_exported(const std::string& path, const std::string& source);

/// The same of weights that are open: all parameters of `config`, whose vocab_size is the rows of the token
/// table. `path` is what messages name. UserError (bad_input) for weights that are not of this model.
ExportedModel exported_from(std::shared_ptr<const WeightSource> weights, const ModelConfig& config,
                            const std::string& path, const std::string& source, const std::string& tokenizer);

}  // namespace trireme::launch
