// "logprobs" of replies, written as tokens come.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "launch/serve/protocol/reply/token_names.h"
#include "models/inference/sampling.h"

namespace trireme::launch {

/// Of consecutive tokens of one text.
class LogprobText {
 public:
  virtual ~LogprobText() = default;
  /// A token that nothing comes before: no score.
  virtual void add_first(int32_t token, int64_t offset) = 0;
  /// `offset`: where the token begins in the choice's text, in code points.
  virtual void add(const TokenScore& token, std::span<const TokenScore> alternatives, int64_t offset) = 0;
  /// The JSON of what was added since the last call.
  virtual std::string take() = 0;
};

/// {"tokens","token_logprobs","top_logprobs","text_offset"} of completions, or {"content"} of conversations.
/// `names` outlives it.
std::unique_ptr<LogprobText> make_logprob_text(bool is_chat, const TokenNames& names, bool names_ids);

}  // namespace trireme::launch
