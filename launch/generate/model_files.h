// What a path names for generation: weights, the model, its tokenizer, chat template and end tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/config/model_config.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

struct ModelFiles {
  std::string path;       ///< for InferenceModel
  ModelConfig config;     ///< vocab_size is the rows of the token table
  std::string tokenizer;  ///< what load_tokenizer() takes; empty: none is there
  std::string folder;     ///< with tokenizer_config.json, generation_config.json, ...; empty: none
  std::string gguf;       ///< with their keys; empty: none
};

/// `path`: a run directory, a checkpoint, a directory of transformers, a .safetensors or a GGUF file. A run
/// that began with a published model has the files beside it in source/. `tokenizer`: in place of what is
/// found; may be empty. UserError (bad_input) naming what is missing.
ModelFiles find_model_files(const std::string& path, const std::string& tokenizer);

/// Null where none is there.
std::unique_ptr<Tokenizer> tokenizer_of(const ModelFiles& files);

/// The tokens that end a text: of generation_config.json, else of config.json (eos_token_id), else of the
/// GGUF file (eos, eot, eom), else the tokenizer's end of text. `tokenizer` may be null.
std::vector<int32_t> end_tokens_of(const ModelFiles& files, const Tokenizer* tokenizer);

struct ChatTemplateText {
  std::string text;   ///< empty: the model has none
  std::string where;  ///< file, and key
  /// Contents of special tokens by the names that templates use: "bos_token", ...
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

/// Of chat_template.jinja, tokenizer_config.json or the GGUF file.
ChatTemplateText chat_template_of(const ModelFiles& files, const Tokenizer& tokenizer);

}  // namespace trireme::launch
