// Apart from the template itself, which is tested and fuzzed without a model's files.
#include "launch/generate/chat_format.h"
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
    : ChatFormat(need_template(files, tokenizer), tokenizer) {}

}  // namespace trireme::launch
