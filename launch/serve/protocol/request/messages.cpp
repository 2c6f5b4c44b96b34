// Messages of conversations, as templates know them.
#include <algorithm>
#include <array>

#include "launch/serve/protocol/api_error.h"
#include "launch/serve/protocol/request/prompts.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::string_view, 5> kRoles{"system", "developer", "user", "assistant", "tool"};
constexpr std::array<std::string_view, 11> kMessageMembers{
    "role",  "content",    "name",          "reasoning_content", "refusal",  "annotations",
    "audio", "tool_calls", "function_call", "tool_call_id",      "reasoning"};

/// Texts of parts go in lines of their own, as in vLLM.
std::string text_of_parts(const ordered_json& parts, const std::string& where) {
  std::string text;
  for (const ordered_json& part : parts) {
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string())
      refuse("messages", "{} has a part that is {}; allowed: {{\"type\": \"text\", \"text\": ...}}", where,
             shown_value(part));
    if (part["type"] != "text")
      refuse("messages", "{} has a part of type {}; this server reads \"text\" alone", where,
             shown_value(part["type"]));
    constexpr std::array<std::string_view, 2> kPartMembers{"type", "text"};
    check_members(part, where + ".content.", kPartMembers);
    const FieldReader fields(part, where + ".content.");
    const auto more = fields.string("text");
    if (!more) refuse("messages", "{} has a part of type \"text\" without \"text\"", where);
    if (!text.empty()) text += '\n';
    text += *more;
  }
  return text;
}

bool says_nothing(const ordered_json& value) {
  return value.is_null() || (value.is_array() && value.empty());
}

void refuse_tools(const ordered_json& message, const std::string& where) {
  for (const char* name :
       {"audio", "tool_calls", "function_call", "tool_call_id", "refusal", "annotations"}) {
    if (message.contains(name) && !says_nothing(message[name]))
      refuse("messages", "{}.{} is not supported: this server reads and writes text, and calls no tools",
             where, name);
  }
}

ordered_json read_message(const ordered_json& message, const std::string& where) {
  if (!message.is_object())
    refuse("messages", "{} is {}; allowed: {{\"role\": ..., \"content\": ...}}", where, shown_value(message));
  check_members(message, where + ".", kMessageMembers);
  const FieldReader fields(message, where + ".");
  const auto role = fields.string("role");
  if (!role || std::ranges::find(kRoles, *role) == kRoles.end() || *role == "tool") {
    refuse("messages",
           "{}.role is {}; allowed: \"system\", \"developer\" (the same), \"user\", \"assistant\"", where,
           role ? shown_value(*role) : "missing");
  }
  refuse_tools(message, where);
  const ordered_json* content = fields.find("content");
  if (content == nullptr || !(content->is_string() || content->is_array()))
    refuse("messages", "{}.content is {}; allowed: a string, or a list of parts of type \"text\"", where,
           content == nullptr ? "missing" : shown_value(*content));
  ordered_json out =
      chat_message(*role == "developer" ? "system" : *role,
                   content->is_string() ? content->get<std::string>() : text_of_parts(*content, where));
  if (const auto name = fields.string("name")) out["name"] = *name;
  for (const char* reasoning : {"reasoning_content", "reasoning"}) {
    if (const auto text = fields.string(reasoning)) out["reasoning_content"] = *text;
  }
  return out;
}

ChatTurn read_turn(const FieldReader& fields) {
  ChatTurn turn;
  turn.continues_last = fields.boolean("continue_final_message", false);
  turn.begins_answer = fields.boolean("add_generation_prompt", !turn.continues_last);
  if (turn.continues_last && turn.begins_answer)
    refuse("continue_final_message",
           "\"continue_final_message\" and \"add_generation_prompt\" are both true; either the last message "
           "goes on, or an answer begins");
  if (const ordered_json* variables = fields.object("chat_template_kwargs")) turn.variables = *variables;
  for (const char* own : {"messages", "tools", "documents", "add_generation_prompt"}) {
    if (turn.variables.contains(own))
      refuse("chat_template_kwargs", "\"chat_template_kwargs\" has \"{}\", which is the request's own", own);
  }
  return turn;
}

}  // namespace

std::vector<int32_t> read_conversation(const FieldReader& fields, const ServedModel& model) {
  if (model.chat == nullptr) {
    throw ApiError{.message = fmt::format("this model has no conversations: {}; use /v1/completions",
                                          model.chat_trouble),
                   .param = "messages",
                   .code = "no_chat_template"};
  }
  const ordered_json* list = fields.find("messages");
  constexpr const char* kForm = "a list of {\"role\": ..., \"content\": ...}, at least one";
  if (list == nullptr) refuse("messages", "\"messages\" is missing: {}", kForm);
  if (!list->is_array() || list->empty()) fields.refuse_value("messages", *list, kForm);
  ordered_json messages = ordered_json::array();
  for (const ordered_json& message : *list)
    messages.push_back(read_message(message, fmt::format("messages[{}]", messages.size())));
  const ChatTurn turn = read_turn(fields);
  try {
    return model.chat->encode(messages, turn);
  } catch (const UserError& error) {
    refuse("messages", "the chat template refuses the messages: {}", error.what());
  }
}

}  // namespace trireme::launch
