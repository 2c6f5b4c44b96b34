// A model's conversations as tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/generate/model_files.h"
#include "runtime/text/chat/chat_template.h"

namespace trireme::launch {

class ChatFormat {
 public:
  /// `tokenizer` outlives it. UserError (usage) where the model has no chat template, (bad_input) where that
  /// cannot be read.
  ChatFormat(const ModelFiles& files, const Tokenizer& tokenizer);

  /// `messages` with what the assistant's next one begins with. Special tokens in the rendered text are
  /// tokens; the template writes the begin of the text, so nothing is added. UserError (bad_input) as
  /// ChatTemplate::render().
  std::vector<int32_t> encode(const nlohmann::ordered_json& messages) const;

 private:
  const Tokenizer& tokenizer_;
  ChatTemplateText source_;
  ChatTemplate template_;
};

/// {"role": role, "content": content}
nlohmann::ordered_json chat_message(const std::string& role, const std::string& content);

}  // namespace trireme::launch
