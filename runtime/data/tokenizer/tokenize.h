// Text files to two streams of token ids: training and validation.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "runtime/data/text_documents.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

using TokenSink = std::function<void(std::span<const int32_t>)>;

struct TokenizeCounts {
  int64_t documents = 0;
  int64_t json_lines = 0;  ///< of them
  int64_t text_bytes = 0;
  int64_t train_tokens = 0, validation_tokens = 0;
};

/// Encodes every document of `input` in order, on `num_threads` threads. The last `validation_fraction` of
/// the input's bytes goes to `validation`, the rest to `train`: plain text is cut at that very character (as
/// nanoGPT cuts Shakespeare), a JSONL document goes whole to the side where its line begins. Between two
/// documents of one side stands the tokenizer's end-of-text id, if it has one. The ids do not depend on
/// `num_threads`. UserError(usage) unless 0 <= validation_fraction < 1; UserError(bad_input) as encode() and
/// for_each_document().
TokenizeCounts tokenize(const TextInput& input, const Tokenizer& tokenizer, double validation_fraction,
                        int num_threads, const TokenSink& train, const TokenSink& validation);

}  // namespace trireme
