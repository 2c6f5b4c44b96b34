// Generates a text sample from a model.
#pragma once

#include <functional>
#include <string>

#include "models/transformer/transformer.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

struct TextSampleOptions {
  std::string prompt = "\n";
  int64_t num_tokens = 200;
  double temperature = 0.8;
  uint64_t seed = 0;
  std::function<bool()> is_over = {};  ///< asked before each token on world rank 0: true ends the text
};

/// On world rank 0 the prompt and num_tokens tokens after it, drawn from softmax(logits / temperature)
/// (sample_token()), so equal seeds give equal text. Keys and values of a sequence are cached; where it has
/// grown to `context` tokens, it goes on as a new one that begins with the last half of them, which need not
/// move as a window over learned positions or cached rotations would have to. A longer prompt counts by its
/// last half context too. Under context parallelism, which divides sequences, nothing is cached: each token
/// is a forward pass over the last `context` ones. Stops early at the tokenizer's end of text. Every rank of
/// the first replica (those that the model is sharded over) calls it, under ZeRO stage 3 every rank of the
/// world; only rank 0 passes a tokenizer (null there too: no sample) and gets the text.
std::string sample_text(Context& ctx, const ParallelContext& parallel, Transformer& model,
                        const Tokenizer* tokenizer, int64_t context, const TextSampleOptions& options);

}  // namespace trireme::launch
