#include "launch/generate/text_request.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

std::vector<int32_t> encode_text(const Prompt& prompt, const RequestRules& rules) {
  const Tokenizer& tokenizer = *rules.tokenizer;
  std::vector<int32_t> ids(tokenizer.begin_ids().begin(), tokenizer.begin_ids().end());
  const std::vector<int32_t> text = tokenizer.encode(prompt.text, {prompt.where, 0});
  ids.insert(ids.end(), text.begin(), text.end());
  if (ids.empty() && tokenizer.end_of_text()) ids.push_back(*tokenizer.end_of_text());
  if (ids.empty())
    throw_usage("{}: the prompt is empty, and the tokenizer has no token that begins or ends a text",
                prompt.where);
  return ids;
}

std::vector<int32_t> encode(const Prompt& prompt, const RequestRules& rules) {
  if (!prompt.tokens.empty()) return prompt.tokens;
  if (rules.tokenizer == nullptr) {
    throw_usage(
        "{}: no tokenizer lies beside the model: --tokenizer PATH names one; or give \"tokens\" in a file of "
        "--prompts",
        prompt.where);
  }
  if (!prompt.messages.is_null() && rules.chat == nullptr)
    throw_usage("{}: \"messages\" need --apply-template", prompt.where);
  if (rules.chat == nullptr) return encode_text(prompt, rules);
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (!prompt.messages.is_null()) {
    messages = prompt.messages;
  } else {
    if (!rules.system.empty()) messages.push_back(chat_message("system", rules.system));
    messages.push_back(chat_message("user", prompt.text));
  }
  return rules.chat->encode(messages);
}

int64_t tokens_to_generate(const Prompt& prompt, int64_t prompt_tokens, const RequestRules& rules) {
  const int64_t room = rules.max_seq_len - prompt_tokens;
  const std::optional<int64_t> asked = prompt.options.max_tokens;
  if (room < asked.value_or(1)) {
    throw_usage(
        "{}: the prompt has {} tokens, and with {} more it does not fit the longest sequence of {} tokens "
        "(--max-seq-len, --cache-tokens); give a shorter prompt{}",
        prompt.where, prompt_tokens, asked.value_or(1), rules.max_seq_len,
        room >= 1 ? fmt::format(", or --max-tokens {}", room) : "");
  }
  return asked ? *asked : std::min(rules.default_tokens, room);
}

}  // namespace

TextRequest request_of(const Prompt& prompt, const RequestRules& rules) {
  TextRequest request{.prompt = prompt, .generation = {}};
  GenerationRequest& generation = request.generation;
  generation.prompt = encode(prompt, rules);
  for (const int32_t id : generation.prompt) {
    if (id >= rules.vocab_size)
      throw_bad_input("{}: the token {} is not of the model's vocabulary of {}: its tokenizer is another",
                      prompt.where, id, rules.vocab_size);
  }
  generation.max_tokens = tokens_to_generate(prompt, std::ssize(generation.prompt), rules);
  generation.sampling = prompt.options.sampling;
  if (rules.has_scores) generation.num_alternatives = 0;
  const TextOptions& options = prompt.options;
  if (rules.tokenizer != nullptr) {
    check_stops(options.stops, *rules.tokenizer);
  } else if (!options.stops.empty() || !options.end_tokens.empty()) {
    throw_usage("{}: --stop and --end-token need a tokenizer (--tokenizer PATH)", prompt.where);
  }
  if (options.ignores_end) return request;
  generation.end_tokens =
      options.end_tokens.empty() ? rules.end_tokens : tokens_named(options.end_tokens, *rules.tokenizer);
  return request;
}

std::vector<int32_t> tokens_named(const std::vector<std::string>& names, const Tokenizer& tokenizer) {
  std::vector<int32_t> tokens;
  for (const std::string& name : names) {
    const std::vector<int32_t> ids = tokenizer.encode(name);
    if (ids.size() != 1) {
      throw_usage(
          "--end-token {} is {} tokens of this tokenizer, not one; --stop ends a text before any text", name,
          ids.size());
    }
    tokens.push_back(ids.front());
  }
  return tokens;
}

void check_stops(const std::vector<std::string>& stops, const Tokenizer& tokenizer) {
  for (const std::string& stop : stops) {
    std::vector<int32_t> ids;
    try {
      ids = tokenizer.encode(stop);
    } catch (const UserError&) {  // what it cannot express it does not write either
      throw_usage("--stop '{}' has no effect: the tokenizer cannot express it", stop);
    }
    if (ids.size() == 1 && tokenizer.is_special(ids.front()))
      throw_usage("--stop {} is a special token, which no text has: --end-token {} ends texts with it", stop,
                  stop);
  }
}

}  // namespace trireme::launch
