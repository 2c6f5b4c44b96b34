#include "launch/serve/protocol/model_pages.h"

#include "launch/serve/protocol/api_error.h"
#include "launch/serve/protocol/json_text.h"
#include "launch/serve/protocol/request/field_reader.h"
#include "launch/serve/protocol/request/known_fields.h"
#include "launch/serve/protocol/request/prompts.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;

/// JSON that any text may be part of.
std::string text_of(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ordered_json description(const ServedModel& model) {
  return {
      {"id", model.name},   {"object", "model"}, {"created", model.created},          {"owned_by", "trireme"},
      {"root", model.name}, {"parent", nullptr}, {"max_model_len", model.max_seq_len}};
}

/// The name that a template has for a special token, else the text of `token`.
ordered_json special_text(const ServedModel& model, const char* variable, std::optional<int32_t> token) {
  if (model.chat != nullptr) {
    const ordered_json& variables = model.chat->source().variables;
    if (variables.contains(variable)) return variables[variable];
  }
  const std::string text = token ? model.tokenizer->decode({&*token, 1}) : "";
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

}  // namespace

std::string model_page(const ServedModel& model) { return text_of(description(model)); }

std::string models_page(const ServedModel& model) {
  return text_of({{"object", "list"}, {"data", ordered_json::array({description(model)})}});
}

std::string tokenize_page(const ordered_json& body, const ServedModel& model, const TokenNames& names) {
  check_fields(Endpoint::tokenize, body);
  check_model(body, model);
  const FieldReader fields(body);
  if (fields.has("prompt") == fields.has("messages"))
    refuse("prompt", "give either \"prompt\" or \"messages\"");
  std::vector<int32_t> tokens;
  if (fields.has("messages")) {
    if (fields.boolean("add_special_tokens", false))
      refuse("add_special_tokens",
             "\"add_special_tokens\" is true; of \"messages\" the chat template writes them");
    tokens = read_conversation(fields, model);
  } else {
    for (const char* name : {"add_generation_prompt", "continue_final_message", "chat_template_kwargs"}) {
      if (fields.has(name)) refuse(name, "\"{}\" is for \"messages\", not for \"prompt\"", name);
    }
    const auto text = fields.string("prompt");
    tokens = text_prompt(*text, fields.boolean("add_special_tokens", true), *model.tokenizer).tokens;
  }
  std::string out =
      fmt::format(R"({{"count":{},"max_model_len":{},"tokens":)", tokens.size(), model.max_seq_len);
  append_numbers(out, tokens);
  out += R"(,"token_strs":)";
  if (!fields.boolean("return_token_strs", false)) return out + "null}";
  out += '[';
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, names.name(tokens[i]));
  }
  return out + "]}";
}

std::string detokenize_page(const ordered_json& body, const ServedModel& model) {
  check_fields(Endpoint::detokenize, body);
  check_model(body, model);
  const FieldReader fields(body);
  const ordered_json* list = fields.find("tokens");
  if (list == nullptr) refuse("tokens", "\"tokens\" is missing: a list of token ids");
  if (!list->is_array()) fields.refuse_value("tokens", *list, "a list of token ids");
  return R"({"prompt":)" + json_string(model.tokenizer->decode(read_tokens(*list, "tokens", model))) + "}";
}

std::string tokenizer_info_page(const ServedModel& model) {
  const std::span<const int32_t> begins = model.tokenizer->begin_ids();
  std::optional<int32_t> end = model.tokenizer->end_of_text();
  if (!end && !model.end_tokens.empty()) end = model.end_tokens.front();
  const std::optional<int32_t> begin = begins.empty() ? std::nullopt : std::optional<int32_t>(begins.front());
  ordered_json page{{"tokenizer_class", model.tokenizer->kind()},
                    {"vocab_size", model.vocab_size},
                    {"model_max_length", model.max_seq_len},
                    {"bos_token", special_text(model, "bos_token", begin)},
                    {"eos_token", special_text(model, "eos_token", end)},
                    {"pad_token", special_text(model, "pad_token", std::nullopt)},
                    {"add_bos_token", !begins.empty()},
                    {"chat_template", nullptr}};
  if (model.chat != nullptr) page["chat_template"] = model.chat->source().text;
  return text_of(page);
}

}  // namespace trireme::launch
