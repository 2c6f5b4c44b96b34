// HfArchitecture: a class of transformers as data: the keys of its config.json, and the names of its tensors.
#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/model_config.h"
#include "models/formats/hf/hf_keys.h"

namespace trireme::hf {

/// Keys of config.json that stand for fields of a ModelConfig.
struct HfPart {
  std::vector<std::string> keys;  ///< all that it reads or writes
  std::function<void(const HfKeys&, ModelConfig&)> read;
  /// Adds its keys; what it cannot express it leaves out, and reading back shows it.
  std::function<void(const ModelConfig&, Json&)> write;
};

/// How a parameter is stored.
enum class HfStorage : uint8_t {
  plain,
  transposed,  ///< [inputs, outputs] (Conv1D of GPT-2)
  by_heads     ///< of each head its rows of query, key and value (GPT-NeoX)
};

/// Parameters and the tensors that hold them. "{}" is the number of the block, and in a name of experts the
/// second one that of the expert. Parameters with one tensor lie in it one below the other, in the order of
/// the model.
struct HfTensorName {
  std::string_view parameter;  ///< "layers.{}.attention.query": with .weight, .bias or .gain behind
  std::string_view tensor;     ///< "model.layers.{}.self_attn.q_proj": with .weight (for a gain too) or .bias
  HfStorage storage = HfStorage::plain;
};

struct HfArchitecture {
  std::string_view name;        ///< "LlamaForCausalLM"
  std::string_view model_type;  ///< "llama"
  ModelFamily family;
  std::vector<HfPart> parts;
  std::vector<HfTensorName> tensors;
  std::string_view base;  ///< prefix of all tensors but the head's, which files of the model without it lack
  /// Gains are stored less this.
  float gain_added = 0;
};

/// All that are read and written.
std::span<const HfArchitecture> hf_architectures();
/// Null for others.
const HfArchitecture* find_hf_architecture(std::string_view name);
/// That of config.json. UserError (bad_input) naming `path`, and for architectures that are known not to work
/// the reason.
const HfArchitecture& hf_architecture_in(const Json& config, const std::string& path);

// Each in a file of its own.
HfArchitecture gpt2_architecture();
HfArchitecture llama_architecture();
HfArchitecture mistral_architecture();
HfArchitecture mixtral_architecture();
HfArchitecture qwen2_architecture();
HfArchitecture qwen3_architecture();
HfArchitecture qwen3_moe_architecture();
HfArchitecture gemma_architecture();
HfArchitecture gemma2_architecture();
HfArchitecture gemma3_architecture();
HfArchitecture phi3_architecture();
HfArchitecture olmo2_architecture();
HfArchitecture smollm3_architecture();
HfArchitecture neox_architecture();

/// Names of tensors as Llama has them, which most others share: embedding, attention, norms and head.
std::vector<HfTensorName> llama_names();
/// Its feed-forward part: gate_proj, up_proj and down_proj.
std::vector<HfTensorName> gated_names();
std::vector<HfTensorName> together(std::initializer_list<std::vector<HfTensorName>> lists);

}  // namespace trireme::hf
