#include "launch/generate/answer.h"

#include <utility>

#include <unistd.h>

#include "launch/report/visible_text.h"

namespace trireme::launch {

namespace {

const char* name_of(FinishReason finish) {
  switch (finish) {
    case FinishReason::end_token:
      return "end";
    case FinishReason::length:
      return "length";
    case FinishReason::stopped:
      return "stop";
    case FinishReason::none:
      break;
  }
  return "interrupted";
}

}  // namespace

Answer::Answer(TextRequest request, const Tokenizer* tokenizer) : request_(std::move(request)) {
  if (tokenizer != nullptr) text_.emplace(*tokenizer, request_.prompt.options.stops);
}

std::string Answer::push(const GeneratedToken& token) {
  tokens_.push_back(token.sampled.token);
  log_probabilities_.push_back(token.sampled.log_probability);
  finish_ = token.finish;
  if (!text_) return "";
  std::string piece;
  if (token.finish != FinishReason::end_token) piece = text_->push(token.sampled.token);
  if (!text_->is_stopped() && is_over()) piece += text_->finish();
  if (text_->is_stopped()) finish_ = FinishReason::stopped;
  return piece;
}

std::string Answer::interrupt() {
  if (is_over() || is_interrupted_) return "";
  is_interrupted_ = true;
  return text_ ? text_->finish() : "";
}

nlohmann::ordered_json Answer::json(bool with_logprobs) const {
  nlohmann::ordered_json json;
  const Prompt& prompt = request_.prompt;
  if (!prompt.id.is_null()) json["id"] = prompt.id;
  if (!prompt.messages.is_null()) {
    json["messages"] = prompt.messages;
  } else if (prompt.tokens.empty()) {
    json["prompt"] = prompt.text;
  } else {
    json["prompt_ids"] = prompt.tokens;
  }
  if (text_) json["text"] = text();
  json["tokens"] = tokens_;
  json["prompt_tokens"] = request_.generation.prompt.size();
  json["finish_reason"] = name_of(finish_);
  if (with_logprobs) json["logprobs"] = log_probabilities_;
  return json;
}

std::string shown(const std::string& text, std::FILE* out) {
  return ::isatty(::fileno(out)) == 1 ? visible(text) : text;
}

std::string line_of(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace trireme::launch
