// Metadata of GGUF files from and to ModelConfig: the keys that llama.cpp reads for a model's architecture.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/model_config.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/gguf/gguf_value.h"

namespace trireme {

/// What a file says of a model beside the parameters.
struct GgufModel {
  std::string architecture;  ///< "llama", of general.architecture
  GgufMetadata metadata;     ///< general.architecture and the keys that begin with its name
  /// Tensors that hold no parameters: factors of RoPE's frequencies.
  std::map<std::string, std::vector<float>, std::less<>> tables;
  /// What llama.cpp computes otherwise, one sentence each: it reads no window for this architecture.
  std::vector<std::string> notes;
};

/// The model that llama.cpp makes of this file, with the window where it has one that llama.cpp passes over.
/// Architectures: find_gguf_architecture(). vocab_size is the rows of the token table. UserError (bad_input)
/// naming file, key, value and what works for architectures and keys that cannot be represented, and for keys
/// of the architecture that are unknown.
ModelConfig read_gguf_config(const GgufReader& file);

/// What llama.cpp needs to compute this model, in the architecture of its family where that one does, else
/// the first that does. UserError (usage) where none does, naming for the nearest the options in which it
/// differs.
GgufModel write_gguf_config(const ModelConfig& config);

/// The architecture that write_gguf_config() chooses; its errors.
std::string gguf_architecture_of(const ModelConfig& config);

/// Whether a tensor of this name holds no parameters but factors of RoPE's frequencies.
bool is_gguf_table(std::string_view name);

}  // namespace trireme
