// Prompts of requests: texts, tokens, conversations.
#pragma once

#include <vector>

#include "launch/serve/protocol/request/api_request.h"
#include "launch/serve/protocol/request/field_reader.h"

namespace trireme::launch {

/// "prompt": a string, a list of strings, of token ids, or of lists of these. At least one, none of them
/// empty. ApiError (400).
std::vector<ApiPrompt> read_prompts(const FieldReader& fields, const ServedModel& model);

/// One string; `adds`: with what the tokenizer's file puts around texts.
ApiPrompt text_prompt(const std::string& text, bool adds, const Tokenizer& tokenizer);

/// "messages" by the model's template, with add_generation_prompt, continue_final_message and
/// chat_template_kwargs. ApiError (400), also where the template refuses them.
std::vector<int32_t> read_conversation(const FieldReader& fields, const ServedModel& model);

/// Token ids of `list`, all of the model's vocabulary.
std::vector<int32_t> read_tokens(const nlohmann::ordered_json& list, const char* field,
                                 const ServedModel& model);

}  // namespace trireme::launch
