// A text as it is generated, and how it is printed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/generate/stopped_text.h"
#include "launch/generate/text_request.h"
#include "models/inference/generator.h"

namespace trireme::launch {

class Answer {
 public:
  /// `tokenizer` outlives it; null: the answer has tokens alone.
  Answer(TextRequest request, const Tokenizer* tokenizer);

  /// The text that the token adds for good.
  std::string push(const GeneratedToken& token);
  /// Whether the text has ended, by its tokens or by a stop string.
  bool is_over() const { return finish_ != FinishReason::none; }
  bool is_stopped() const { return finish_ == FinishReason::stopped; }
  /// What was held back of a text that ends here, whatever its tokens say.
  std::string interrupt();

  const TextRequest& request() const { return request_; }
  std::string text() const { return text_ ? text_->text() : ""; }
  int64_t num_tokens() const { return std::ssize(tokens_); }
  /// {"id": ..., "prompt": ..., "text": ..., "tokens": [...], "prompt_tokens": N, "finish_reason": ...}, and
  /// "logprobs", of the tokens.
  nlohmann::ordered_json json(bool with_logprobs) const;

 private:
  TextRequest request_;
  std::optional<StoppedText> text_;
  std::vector<int32_t> tokens_;
  std::vector<float> log_probabilities_;
  FinishReason finish_ = FinishReason::none;
  bool is_interrupted_ = false;
};

/// Text of a model as it may be written: on a terminal no character of it moves the cursor (visible()).
std::string shown(const std::string& text, std::FILE* out);

/// JSON in one line; bytes that are no UTF-8 become U+FFFD.
std::string line_of(const nlohmann::ordered_json& json);

}  // namespace trireme::launch
