// What the server says about its model: its name, its tokens, its tokenizer.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "launch/serve/protocol/openai_api.h"
#include "launch/serve/protocol/reply/token_names.h"

namespace trireme::launch {

/// The page of /v1/models, and of one model there.
std::string models_page(const ServedModel& model);
std::string model_page(const ServedModel& model);

/// Of "prompt" or "messages": {"count","max_model_len","tokens","token_strs"}. ApiError (400, 404).
std::string tokenize_page(const nlohmann::ordered_json& body, const ServedModel& model,
                          const TokenNames& names);
/// Of "tokens": {"prompt"}. ApiError (400, 404).
std::string detokenize_page(const nlohmann::ordered_json& body, const ServedModel& model);
/// {"tokenizer_class","bos_token","eos_token","pad_token","chat_template",...}, null where there is none.
std::string tokenizer_info_page(const ServedModel& model);

}  // namespace trireme::launch
