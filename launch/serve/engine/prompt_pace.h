// PromptPace: how many tokens of prompts a pass may have, so that texts that run do not wait for it.
#pragma once

#include <cstdint>

#include "models/inference/generator.h"

namespace trireme::launch {

/// Bounds passes by what the last ones took. A chunk of a prompt takes about as long as all texts' next
/// tokens, so that the gaps of texts double while a prompt is read; behind thousands of tokens, where the
/// least chunk of 16 takes longer than that, they grow with it.
class PromptPace {
 public:
  /// Of a pass that continues texts too.
  int64_t prompt_tokens() const;
  void learn(const PassReport& pass);

 private:
  // Of late, in seconds; 0: not known yet.
  double decoding_ = 0;      // a pass that continues texts
  double prompt_token_ = 0;  // each token of a prompt beside it
};

}  // namespace trireme::launch
