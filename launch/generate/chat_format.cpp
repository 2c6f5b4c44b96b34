#include "launch/generate/chat_format.h"

#include <utility>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

// As transformers does (continue_final_message): what the template puts after the last message's text goes;
// templates may strip that text.
void cut_after_last(std::string& text, const nlohmann::ordered_json& messages) {
  const std::string content =
      messages.empty() ? "" : messages.back().value("content", nlohmann::ordered_json("")).get<std::string>();
  const size_t first = content.find_first_not_of(" \t\r\n");
  const std::string core = first == std::string::npos
                               ? ""
                               : content.substr(first, content.find_last_not_of(" \t\r\n") - first + 1);
  const size_t at = core.empty() ? std::string::npos : text.rfind(core);
  if (at == std::string::npos)
    throw_bad_input("the last message cannot be continued: its text is not in what the chat template writes");
  size_t end = at + core.size();
  const std::string after = content.substr(first + core.size());
  if (text.compare(end, after.size(), after) == 0) end += after.size();
  text.resize(end);
}

}  // namespace

ChatFormat::ChatFormat(ChatTemplateText source, const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), source_(std::move(source)), template_(source_.text, source_.where) {}

std::vector<int32_t> ChatFormat::encode(const nlohmann::ordered_json& messages, const ChatTurn& turn) const {
  ChatInput input;
  input.messages = messages;
  input.add_generation_prompt = turn.begins_answer;
  input.variables = source_.variables;
  for (const auto& [name, value] : turn.variables.items()) input.variables[name] = value;
  std::string text = template_.render(input).text;
  if (turn.continues_last) cut_after_last(text, messages);
  return tokenizer_.encode(text, {source_.where, 0});
}

nlohmann::ordered_json chat_message(const std::string& role, const std::string& content) {
  nlohmann::ordered_json message;
  message["role"] = role;
  message["content"] = content;
  return message;
}

}  // namespace trireme::launch
