#include "launch/generate/chat_format.h"

#include <utility>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

ChatTemplateText need_template(const ModelFiles& files, const Tokenizer& tokenizer) {
  ChatTemplateText chat = chat_template_of(files, tokenizer);
  if (chat.text.empty()) {
    throw_usage(
        "{} has no chat template (chat_template in tokenizer_config.json, chat_template.jinja, or "
        "tokenizer.chat_template of a GGUF file): it continues prompts, without --chat and --apply-template",
        files.path);
  }
  return chat;
}

}  // namespace

ChatFormat::ChatFormat(const ModelFiles& files, const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      source_(need_template(files, tokenizer)),
      template_(source_.text, source_.where) {}

std::vector<int32_t> ChatFormat::encode(const nlohmann::ordered_json& messages) const {
  ChatInput input;
  input.messages = messages;
  input.add_generation_prompt = true;
  input.variables = source_.variables;
  return tokenizer_.encode(template_.render(input).text, {source_.where, 0});
}

nlohmann::ordered_json chat_message(const std::string& role, const std::string& content) {
  nlohmann::ordered_json message;
  message["role"] = role;
  message["content"] = content;
  return message;
}

}  // namespace trireme::launch
