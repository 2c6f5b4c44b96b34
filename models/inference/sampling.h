// Which token comes next: from logits to a choice. Pure functions of their arguments, so that a text does not
// depend on layout, batch or machine load.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme {

/// Filters apply in this order, as in llama.cpp's and vLLM's default chains: penalties, top-k, top-p, min-p,
/// then temperature.
struct SamplingOptions {
  double temperature = 0;  ///< 0: the token with the largest logit (greedy), the first of equals
  int64_t top_k = 0;       ///< the k likeliest tokens alone; 0: all
  double top_p = 1;        ///< the likeliest tokens that have this share together (nucleus sampling)
  double min_p = 0;        ///< tokens with at least this part of the likeliest one's probability
  double repetition_penalty =
      1;  ///< logits of tokens in prompt or text: divided by it, or if negative times it
  double presence_penalty = 0;   ///< subtracted from the logit of every token of the text
  double frequency_penalty = 0;  ///< the same for each time it is there
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_bias =
      {};  ///< added to the logits of tokens, before all filters

  friend bool operator==(const SamplingOptions&, const SamplingOptions&) = default;
};

/// All that is wrong with them, in the words of the command line; empty: nothing.
std::vector<std::string> errors_of(const SamplingOptions& options);

/// A token and how likely it is: the natural log of softmax(logits), before any bias, penalty or filter.
/// Equal logits give equal bits, whoever asks.
struct TokenScore {
  int32_t token = 0;
  float log_probability = 0;
};
using SampledToken = TokenScore;

/// Tokens that may not be drawn, whatever their logits.
struct TokenLimits {
  std::span<const uint64_t> allowed = {};   ///< TokenFilter::allowed(); empty: all are
  std::span<const int32_t> unwelcome = {};  ///< only where nothing else is allowed
};

/// The token at place `index` of the text (0: the first after the prompt), drawn with the Philox number
/// (seed, index). `prompt` and `text` are the tokens so far, for penalties. Logits beyond
/// `vocab_size` (of a padded vocabulary) are not looked at. A NaN among logits: UserError (numerics).
int32_t draw_token(std::span<const float> logits, int64_t vocab_size, const SamplingOptions& options,
                   std::span<const int32_t> prompt, std::span<const int32_t> text, int64_t index,
                   const TokenLimits& limits = {});
/// And how likely it is.
SampledToken sample_token(std::span<const float> logits, int64_t vocab_size, const SamplingOptions& options,
                          std::span<const int32_t> prompt, std::span<const int32_t> text, int64_t index);

/// Natural log of softmax(logits) at `token`, in double.
double log_probability(std::span<const float> logits, int32_t token);

}  // namespace trireme
