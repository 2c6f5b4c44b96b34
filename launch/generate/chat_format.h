// A model's conversations as tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/generate/model_files.h"
#include "runtime/text/chat/chat_template.h"

namespace trireme::launch {

/// How a conversation goes on.
struct ChatTurn {
  bool begins_answer = true;    ///< what the assistant's next message begins with is added
  bool continues_last = false;  ///< the last message is left open: its text goes on; not with begins_answer
  nlohmann::ordered_json variables =
      nlohmann::ordered_json::object();  ///< for the template ("enable_thinking")
};

class ChatFormat {
 public:
  /// `tokenizer` outlives it. UserError (usage) where the model has no chat template, (bad_input) where that
  /// cannot be read.
  ChatFormat(const ModelFiles& files, const Tokenizer& tokenizer);
  /// The same of a template that is there.
  ChatFormat(ChatTemplateText source, const Tokenizer& tokenizer);

  /// `messages` with what the assistant's next one begins with. Special tokens in the rendered text are
  /// tokens; the template writes the begin of the text, so nothing is added. UserError (bad_input) as
  /// ChatTemplate::render().
  std::vector<int32_t> encode(const nlohmann::ordered_json& messages, const ChatTurn& turn = {}) const;

  const ChatTemplateText& source() const { return source_; }

 private:
  const Tokenizer& tokenizer_;
  ChatTemplateText source_;
  ChatTemplate template_;
};

/// {"role": role, "content": content}
nlohmann::ordered_json chat_message(const std::string& role, const std::string& content);

}  // namespace trireme::launch
