#include "launch/serve/protocol/request/prompts.h"

#include <algorithm>

#include "launch/serve/protocol/api_error.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;
constexpr const char* kPromptForms =
    "a string, a list of strings, a list of token ids, or a list of lists of token ids";

ApiPrompt token_prompt(const ordered_json& list, const ServedModel& model) {
  ApiPrompt prompt;
  prompt.tokens = read_tokens(list, "prompt", model);
  prompt.text = model.tokenizer->decode(prompt.tokens);
  return prompt;
}

ApiPrompt one_of_list(const ordered_json& value, bool adds, const FieldReader& fields,
                      const ServedModel& model) {
  if (value.is_string()) return text_prompt(value.get_ref<const std::string&>(), adds, *model.tokenizer);
  if (!value.is_array()) fields.refuse_value("prompt", value, kPromptForms);
  return token_prompt(value, model);
}

}  // namespace

std::vector<int32_t> read_tokens(const ordered_json& list, const char* field, const ServedModel& model) {
  std::vector<int32_t> tokens;
  tokens.reserve(list.size());
  for (const ordered_json& value : list) {
    const auto token = integer_of(value);
    if (!token || *token < 0 || *token >= model.vocab_size) {
      refuse(field, "\"{}\" has {} at place {}; allowed: token ids from 0 to {}", field, shown_value(value),
             tokens.size(), model.vocab_size - 1);
    }
    tokens.push_back(static_cast<int32_t>(*token));
  }
  return tokens;
}

ApiPrompt text_prompt(const std::string& text, bool adds, const Tokenizer& tokenizer) {
  ApiPrompt prompt;
  prompt.text = text;
  try {
    prompt.tokens = adds ? tokenizer.encode_whole(text) : tokenizer.encode(text);
  } catch (const UserError& error) {
    refuse("prompt", "the tokenizer cannot express the prompt: {}", error.what());
  }
  if (adds) prompt.num_added = std::ssize(tokenizer.begin_ids());
  return prompt;
}

std::vector<ApiPrompt> read_prompts(const FieldReader& fields, const ServedModel& model) {
  const ordered_json* value = fields.find("prompt");
  if (value == nullptr) refuse("prompt", "\"prompt\" is missing: {}", kPromptForms);
  const bool adds = fields.boolean("add_special_tokens", true);
  std::vector<ApiPrompt> prompts;
  if (value->is_string()) {
    prompts.push_back(text_prompt(value->get_ref<const std::string&>(), adds, *model.tokenizer));
  } else if (!value->is_array() || value->empty()) {
    fields.refuse_value("prompt", *value, kPromptForms);
  } else if (value->front().is_number()) {
    prompts.push_back(token_prompt(*value, model));
  } else {
    for (const ordered_json& item : *value) prompts.push_back(one_of_list(item, adds, fields, model));
  }
  for (const ApiPrompt& prompt : prompts) {
    if (prompt.tokens.empty())
      refuse("prompt", "\"prompt\" has a text without tokens; this model begins no texts by itself");
  }
  return prompts;
}

}  // namespace trireme::launch
