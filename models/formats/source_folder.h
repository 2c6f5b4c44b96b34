// What lies beside a published model's weights and goes with it: configuration, tokenizer, licence.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

/// Whether a file of this name goes with a model: config.json, generation_config.json, files of tokenizers
/// and chat templates, LICENSE, NOTICE, README and USE_POLICY with any ending.
bool goes_with_model(std::string_view file_name);

/// Copies them, as they are, to `run_directory`/source: from a directory of transformers, or of a run or
/// checkpoint that came from one from its own source/. Of a GGUF file its metadata, as metadata.gguf. Nothing
/// where `init_from` has neither; what is there already is replaced. EnvironmentError (resources) with path
/// and the system's words.
void keep_source(const std::string& init_from, const std::string& run_directory);

/// What load_tokenizer() takes for the tokenizer of a model's directory: its tokenizer.json, else the
/// directory where it has the files of another kind (GGUF apart); empty where it has none.
std::string tokenizer_in(const std::string& folder);

}  // namespace trireme
