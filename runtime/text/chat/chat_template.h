// Conversations as the text that a model was trained on: its chat template, as transformers renders it.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "runtime/text/jinja/template.h"

namespace trireme {

/// What a template is given.
struct ChatInput {
  nlohmann::ordered_json messages;         ///< a list of {"role": ..., "content": ...}
  nlohmann::ordered_json tools = nullptr;  ///< a list of JSON schemas, or null
  nlohmann::ordered_json documents = nullptr;
  bool add_generation_prompt = false;
  /// Special tokens by their names ("bos_token") and other variables ("enable_thinking").
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  std::optional<std::tm> now = {};  ///< what strftime_now shows; the local time without
};

struct ChatText {
  std::string text;
  /// What {% generation %} marks, the assistant's turns, in bytes of the text.
  std::vector<jinja::TextRange> generations;
};

class ChatTemplate {
 public:
  /// `name` is the template's in messages (a file, or a file and a key). UserError(bad_input) as
  /// jinja::Template.
  ChatTemplate(std::string_view source, std::string name) : template_(source, std::move(name)) {}

  /// UserError(bad_input) when messages are no list of objects, strings are no UTF-8, the template refuses
  /// the messages or fails, or takes more than `limits`; with `needs_generations` also when some of them are
  /// marked inside macros, where their places are not known.
  ChatText render(const ChatInput& input, bool needs_generations = false,
                  const jinja::Limits& limits = {}) const;

 private:
  jinja::Template template_;
};

}  // namespace trireme
