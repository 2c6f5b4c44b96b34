#include <algorithm>

#include <fmt/ranges.h>

#include "models/formats/hf/architecture.h"
#include "runtime/base/error.h"

namespace trireme::hf {

namespace {

/// Architectures that cannot be represented, by a part of their names, and why.
struct Refusal {
  std::string_view part, why;
};
constexpr Refusal kRefusals[] = {
    {"ForConditionalGeneration", ""},  // before names of families: see refuse_composite()
    {"ForSequenceClassification", "it has a head of classes in the place of one of tokens"},
    {"ForTokenClassification", "it has a head of classes in the place of one of tokens"},
    {"ForQuestionAnswering", "it has a head of spans in the place of one of tokens"},
    {"DoubleHeads", "it has a second head"},
    {"Deepseek", "its attention is over latent vectors, and its head sizes of keys and values differ"},
    {"DeepSeek", "its attention is over latent vectors, and its head sizes of keys and values differ"},
    {"GptOss", "its attention has sinks, and its experts biases"},
    {"Llama4", "its attention is over chunks, and scaled by position"},
    {"Qwen3Next", "three of four of its blocks have linear attention"},
    {"Qwen2Moe", "its shared expert has a gate"},
    {"Gemma3n", "its blocks have alternating updates and embeddings of their own"},
    {"PhiForCausalLM", "attention and feed-forward part share one norm with biases"},
    {"PhiMoE", "its router samples"},
    {"Phi3Small", "its attention is block-sparse"},
    {"Mamba", "it is a state-space model"},
    {"Falcon", "attention and feed-forward part share one norm"},
    {"GPTJ", "attention and feed-forward part share one norm, and it turns neighbours"},
    {"Cohere", "attention and feed-forward part share one norm, and its logits are scaled"},
    {"Granite", "its embeddings, residuals and logits have multipliers"},
    {"Bloom", "its positions are ALiBi's"},
    {"MPT", "its positions are ALiBi's"},
    {"OlmoForCausalLM", "its norms have no gains"},
    {"StableLm", "its norms have biases, and its linear layers none"},
    {"Jamba", "it is in part a state-space model"},
    {"Rwkv", "it is a recurrent network"},
    {"RecurrentGemma", "it is in part a recurrent network"},
    {"T5", "it has an encoder and a decoder"},
    {"Bart", "it has an encoder and a decoder"},
    {"Whisper", "it has an encoder and a decoder"},
    {"Roberta", "it is an encoder"},
    {"Bert", "it is an encoder"},
    {"OPT", "its learned positions begin at 2"},
};

std::vector<std::string_view> names() {
  std::vector<std::string_view> all;
  for (const HfArchitecture& entry : hf_architectures()) all.push_back(entry.name);
  return all;
}

[[noreturn]] void refuse_composite(const std::string& name, const std::string& path) {
  if (name != "Gemma3ForConditionalGeneration")
    throw_bad_input("{}: {} has encoders of images or speech, or of text; supported are {}", path, name,
                    fmt::join(names(), ", "));
  throw_bad_input(
      "{}: Gemma3ForConditionalGeneration has an encoder of images beside the language model; save that as a "
      "model "
      "of its own, with DIR for the directory:\n"
      "  python3 -c 'import sys, transformers as t; m = "
      "t.Gemma3ForConditionalGeneration.from_pretrained(sys.argv[1], "
      "dtype=\"auto\"); c = m.config.text_config; x = t.Gemma3ForCausalLM(c).to(m.dtype); "
      "x.model.load_state_dict(m.model.language_model.state_dict()); x.save_pretrained(sys.argv[2]); "
      "t.AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])' DIR DIR-text",
      path);
}

[[noreturn]] void refuse(const std::string& name, const std::string& path) {
  for (const auto& [part, why] : kRefusals) {
    if (name.find(part) == std::string::npos) continue;
    if (why.empty()) refuse_composite(name, path);
    throw_bad_input("{}: {} is not supported: {}; supported are {}", path, name, why,
                    fmt::join(names(), ", "));
  }
  throw_bad_input("{}: architecture {} is not known; supported are {}", path, name, fmt::join(names(), ", "));
}

/// "architectures" [0], or nothing.
std::string named_in(const Json& config, const std::string& path) {
  const auto list = config.find("architectures");
  if (list == config.end() || list->is_null()) return "";
  if (!list->is_array() || list->empty() || !list->front().is_string())
    throw_bad_input("{}: architectures is {}, and not a list of names", path, shown(*list));
  return list->front().get<std::string>();
}

}  // namespace

std::span<const HfArchitecture> hf_architectures() {
  static const std::vector<HfArchitecture> all = {
      gpt2_architecture(),    llama_architecture(),  mistral_architecture(),   mixtral_architecture(),
      qwen2_architecture(),   qwen3_architecture(),  qwen3_moe_architecture(), gemma_architecture(),
      gemma2_architecture(),  gemma3_architecture(), phi3_architecture(),      olmo2_architecture(),
      smollm3_architecture(), neox_architecture()};
  return all;
}

const HfArchitecture* find_hf_architecture(std::string_view name) {
  for (const HfArchitecture& entry : hf_architectures()) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

const HfArchitecture& hf_architecture_in(const Json& config, const std::string& path) {
  const std::string name = named_in(config, path).substr(0, 80);
  if (const HfArchitecture* found = find_hf_architecture(name)) return *found;
  const auto type = config.find("model_type");
  const std::string model_type = type != config.end() && type->is_string() ? type->get<std::string>() : "";
  // The model without its head: "LlamaModel", "GPT2Model".
  const bool is_base = name.empty() || (name.ends_with("Model") && !name.ends_with("LMHeadModel"));
  for (const HfArchitecture& entry : hf_architectures()) {
    const bool is_text_of_gemma3 = model_type == "gemma3" && name == "Gemma3TextModel";
    if (is_base && entry.model_type == model_type && !is_text_of_gemma3) return entry;
  }
  if (!name.empty()) refuse(name, path);
  if (model_type.empty()) throw_bad_input("{} names neither architectures nor a model_type", path);
  throw_bad_input("{}: model_type {} is not known; supported are {}", path, model_type.substr(0, 80),
                  fmt::join(names(), ", "));
}

}  // namespace trireme::hf
