// Prompts as requests to a Generator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/generate/chat_format.h"
#include "launch/generate/prompts.h"
#include "models/inference/generator.h"

namespace trireme::launch {

/// What all prompts have in common.
struct RequestRules {
  const Tokenizer* tokenizer = nullptr;  ///< null: prompts are tokens alone
  const ChatFormat* chat = nullptr;      ///< null: a text is continued as it is; else it is a user's message
  std::string system = {};               ///< of conversations; empty: none
  std::vector<int32_t> end_tokens = {};  ///< of the model
  int64_t vocab_size = 0;                ///< of the model
  int64_t max_seq_len = 0;
  int64_t default_tokens = 256;  ///< where no max_tokens is given
  bool has_scores = false;       ///< tokens come with their log-probabilities
};

struct TextRequest {
  Prompt prompt;
  GenerationRequest generation;
};

/// Texts are encoded after what the tokenizer begins texts with. UserError (usage, bad_input) naming where
/// the prompt is, and what does not fit.
TextRequest request_of(const Prompt& prompt, const RequestRules& rules);

/// Ids of texts that have to be one token each. UserError (usage).
std::vector<int32_t> tokens_named(const std::vector<std::string>& names, const Tokenizer& tokenizer);

/// UserError (usage) for a stop string that is a special token, which is in no text.
void check_stops(const std::vector<std::string>& stops, const Tokenizer& tokenizer);

}  // namespace trireme::launch
