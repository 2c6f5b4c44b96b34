#include "runtime/text/chat/chat_template.h"

#include "runtime/base/error.h"
#include "runtime/io/json/utf8.h"

namespace trireme {

namespace {

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  ::localtime_r(&now, &out);
  return out;
}

/// The template's functions walk code points and rely on these. Nesting is checked first, by what makes
/// values.
void check_strings(const nlohmann::ordered_json& value, const std::string& name, int depth) {
  if (depth > jinja::kMostDepth)
    throw_bad_input("{}: its variables are nested more than {} deep", name, jinja::kMostDepth);
  if (value.is_string())
    check_utf8(value.get_ref<const std::string&>(), {name + ": a string of its variables", 0});
  if (!value.is_structured()) return;
  for (const auto& [key, item] : value.items()) {
    if (value.is_object()) check_utf8(key, {name + ": a key of its variables", 0});
    check_strings(item, name, depth + 1);
  }
}

void check_messages(const nlohmann::ordered_json& messages, const std::string& name) {
  if (!messages.is_array())
    throw_bad_input("{}: messages are a JSON {}, not a list", name, messages.type_name());
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object())
      throw_bad_input("{}: message {} is a JSON {}, not an object", name, i, messages[i].type_name());
  }
}

}  // namespace

ChatText ChatTemplate::render(const ChatInput& input, bool needs_generations,
                              const jinja::Limits& limits) const {
  check_messages(input.messages, template_.name());
  nlohmann::ordered_json variables = input.variables;
  variables["messages"] = input.messages;
  variables["tools"] = input.tools;
  variables["documents"] = input.documents;
  variables["add_generation_prompt"] = input.add_generation_prompt;
  check_strings(variables, template_.name(), 0);
  jinja::Output out = template_.render(variables, input.now ? *input.now : local_time(), limits);
  if (needs_generations && out.has_hidden_generations) {
    throw_bad_input(
        "{}: it marks generations inside macros, blocks or values, where their places are not known",
        template_.name());
  }
  return {std::move(out.text), std::move(out.generations)};
}

}  // namespace trireme
