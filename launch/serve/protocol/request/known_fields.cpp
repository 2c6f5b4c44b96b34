#include "launch/serve/protocol/request/known_fields.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/ranges.h>

#include "launch/cli/options/nearest_name.h"
#include "launch/serve/protocol/api_error.h"
#include "launch/serve/protocol/request/field_reader.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;
using enum FieldUse;

constexpr uint8_t kText = 1, kChat = 2, kBoth = 3, kTokenize = 4, kDetokenize = 8;
constexpr std::string_view kNoTools = "this server calls no tools";
constexpr std::string_view kByFormat = "constrain the text by response_format";
constexpr std::string_view kOtherServers = "an extension of another server that this one does not have";

constexpr KnownField kFields[] = {
    {"model", kBoth | kTokenize | kDetokenize, honoured},
    {"prompt", kText | kTokenize, honoured},
    {"messages", kChat | kTokenize, honoured},
    {"max_tokens", kBoth, honoured},
    {"max_completion_tokens", kChat, honoured},
    {"min_tokens", kBoth, honoured},
    {"temperature", kBoth, honoured},
    {"top_p", kBoth, honoured},
    {"top_k", kBoth, honoured},
    {"min_p", kBoth, honoured},
    {"presence_penalty", kBoth, honoured},
    {"frequency_penalty", kBoth, honoured},
    {"repetition_penalty", kBoth, honoured},
    {"logit_bias", kBoth, honoured},
    {"seed", kBoth, honoured},
    {"n", kBoth, honoured},
    {"best_of", kBoth, honoured},
    {"stop", kBoth, honoured},
    {"stop_token_ids", kBoth, honoured},
    {"include_stop_str_in_output", kBoth, honoured},
    {"ignore_eos", kBoth, honoured},
    {"skip_special_tokens", kBoth, honoured},
    {"stream", kBoth, honoured},
    {"stream_options", kBoth, honoured},
    {"logprobs", kBoth, honoured},
    {"top_logprobs", kChat, honoured},
    {"echo", kText, honoured},
    {"return_tokens_as_token_ids", kBoth, honoured},
    {"return_token_ids", kBoth, honoured},
    {"response_format", kBoth, honoured},
    {"priority", kBoth, honoured},
    {"timeout", kBoth, honoured},
    {"add_special_tokens", kText | kTokenize, honoured},
    {"add_generation_prompt", kChat | kTokenize, honoured},
    {"continue_final_message", kChat | kTokenize, honoured},
    {"chat_template_kwargs", kChat | kTokenize, honoured},
    {"return_token_strs", kTokenize, honoured},
    {"tokens", kDetokenize, honoured},

    {"user", kBoth, inert},
    {"safety_identifier", kBoth, inert},
    {"metadata", kBoth, inert},
    {"prompt_cache_key", kBoth, inert},
    {"parallel_tool_calls", kChat, inert},

    {"store", kBoth, refused, "nothing is stored", "[false]"},
    {"service_tier", kBoth, refused, "there is one tier; use priority", R"(["auto","default"])"},
    {"suffix", kText, refused, "texts are continued at their end alone", R"([""])"},
    {"echo", kChat, refused, "a conversation is not repeated; /v1/completions has echo", "[false]"},
    {"add_special_tokens", kChat, refused, "the chat template writes the special tokens", "[false]"},
    {"tools", kChat | kTokenize, refused, kNoTools, "[[]]"},
    {"tool_choice", kChat, refused, kNoTools, R"(["none","auto"])"},
    {"functions", kChat, refused, kNoTools, "[[]]"},
    {"function_call", kChat, refused, kNoTools, R"(["none","auto"])"},
    {"web_search_options", kChat, refused, kNoTools},
    {"modalities", kChat, refused, "this server writes text", R"([["text"]])"},
    {"audio", kChat, refused, "this server writes text"},
    {"prediction", kChat, refused, "speculation is the server's own (--speculate)"},
    {"reasoning_effort", kChat, refused, "no model here has it; templates take chat_template_kwargs"},
    {"verbosity", kChat, refused, "no model here has it"},
    {"chat_template", kChat | kTokenize, refused, "the model's own template is used"},
    {"documents", kChat, refused, "put them into a message", "[[]]"},
    {"truncate_prompt_tokens", kBoth, refused, "prompts are taken whole; shorten it, /tokenize counts"},
    {"truncation_side", kBoth, refused, "prompts are taken whole"},
    {"prompt_logprobs", kBoth, refused, "use echo with logprobs of /v1/completions"},
    {"logprob_token_ids", kBoth, refused, "logprobs are of the likeliest tokens"},
    {"allowed_token_ids", kBoth, refused, kByFormat, "[[]]"},
    {"bad_words", kBoth, refused, "use logit_bias", "[[]]"},
    {"logits_processors", kBoth, refused, kByFormat, "[[]]"},
    {"structured_outputs", kBoth, refused, kByFormat},
    {"guided_json", kBoth, refused, kByFormat},
    {"guided_regex", kBoth, refused, kByFormat},
    {"guided_choice", kBoth, refused, kByFormat},
    {"guided_grammar", kBoth, refused, kByFormat},
    {"use_beam_search", kBoth, refused, "texts are drawn token by token", "[false]"},
    {"length_penalty", kBoth, refused, "it is of beam search, which is not there", "[1]"},
    {"early_stopping", kBoth, refused, "it is of beam search, which is not there", "[false]"},
    {"spaces_between_special_tokens", kBoth, refused, "text is what the tokenizer gives", "[true]"},
    {"detokenize", kBoth, refused, "replies have text; return_token_ids adds the ids", "[true]"},
    {"prompt_embeds", kText, refused, "prompts are text or tokens"},
    {"cache_salt", kBoth, refused, "the cache of prefixes is shared by all who may use the server"},
    {"request_id", kBoth, refused, "send it as the header x-request-id"},
    {"include_reasoning", kChat, refused, "replies are the text as it is", "[true]"},
    {"thinking_token_budget", kBoth, refused, kOtherServers, "[-1]"},
    {"stream_interval", kBoth, refused, "every token is sent at once", "[1]"},
    {"repetition_detection", kBoth, refused, kOtherServers},
    {"kv_transfer_params", kBoth, refused, kOtherServers},
    {"vllm_xargs", kBoth, refused, kOtherServers},
    {"mm_processor_kwargs", kChat | kTokenize, refused, "messages are text"},
    {"media_io_kwargs", kChat | kTokenize, refused, "messages are text"},
};

template <class Names>
[[noreturn]] void refuse_unknown(const std::string& name, std::string_view where, const Names& names) {
  constexpr size_t kLongest = 64, kFew = 8;
  const std::string shown = name.substr(0, kLongest);
  const std::vector<std::string> known(names.begin(), names.end());
  std::string advice = did_you_mean(shown, known);
  if (advice.empty() && known.size() <= kFew) advice = fmt::format("; allowed: {}", fmt::join(known, ", "));
  throw ApiError{.message = fmt::format("{}\"{}\" is no field of this request{}", where, shown, advice),
                 .param = std::string(where) + shown,
                 .code = "unknown_field"};
}

bool is_neutral(const KnownField& field, const ordered_json& value) {
  if (field.neutral.empty()) return false;
  return std::ranges::any_of(ordered_json::parse(field.neutral),
                             [&](const ordered_json& neutral) { return neutral == value; });
}

const KnownField* find_field(Endpoint endpoint, std::string_view name) {
  const auto at = std::ranges::find_if(kFields, [&](const KnownField& field) {
    return field.name == name && (field.endpoints & static_cast<uint8_t>(endpoint)) != 0;
  });
  return at == std::end(kFields) ? nullptr : &*at;
}

std::vector<std::string_view> useful_names(Endpoint endpoint) {
  std::vector<std::string_view> names;
  for (const KnownField& field : kFields) {
    if ((field.endpoints & static_cast<uint8_t>(endpoint)) != 0 && field.use != refused)
      names.push_back(field.name);
  }
  return names;
}

}  // namespace

std::span<const KnownField> known_fields() { return kFields; }

void check_fields(Endpoint endpoint, const ordered_json& body) {
  for (const auto& [name, value] : body.items()) {
    const KnownField* field = find_field(endpoint, name);
    if (field == nullptr) refuse_unknown(name, "", useful_names(endpoint));
    if (field->use != refused || value.is_null() || is_neutral(*field, value)) continue;
    std::string message =
        fmt::format("\"{}\" is {}, which is not supported: {}", name, shown_value(value), field->reason);
    if (!field->neutral.empty()) message += fmt::format("; allowed: null or one of {}", field->neutral);
    throw ApiError{.message = message, .param = name, .code = "unsupported_field"};
  }
}

void check_members(const ordered_json& object, std::string_view where,
                   std::span<const std::string_view> names) {
  for (const auto& [name, value] : object.items()) {
    if (std::ranges::find(names, std::string_view(name)) == names.end()) refuse_unknown(name, where, names);
  }
}

}  // namespace trireme::launch
