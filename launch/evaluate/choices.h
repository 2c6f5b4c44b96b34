// Multiple choice: which of several continuations of a context a model finds likeliest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/evaluate/sample_statistics.h"
#include "launch/evaluate/token_scores.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

struct ChoiceQuestion {
  std::string context;
  std::vector<std::string> choices;
  std::optional<int64_t> label;  ///< the number of the right one
  std::string origin;            ///< "questions.jsonl:3"
};

/// One JSON object a line: {"context": ..., "choices": [...], "label": n}, label may be missing; other
/// members are passed over. UserError (bad_input) naming line, key and value for anything else.
std::vector<ChoiceQuestion> read_choices(std::string_view text, const std::string& file);

struct ChoiceAnswer {
  std::vector<double> log_probabilities;  ///< of each choice's tokens together, natural
  std::vector<int64_t> num_tokens, num_bytes;
  int64_t best = 0;           ///< the likeliest, the first of equals
  int64_t best_per_byte = 0;  ///< by log probability a byte
};

struct ChoiceScores {
  std::vector<ChoiceAnswer> answers;
  int64_t num_labels = 0;
  SampleMean accuracy, accuracy_per_byte;  ///< of those with labels
};

/// Tokens are those of context and choice as one text, as lm-evaluation-harness takes them: those of the
/// context by itself come first (white space at its end goes to the choices), the others are the choice's.
/// Before them, what the tokenizer begins texts with; an empty context is that, or the token that ends texts.
/// Every rank calls it alike. UserError (bad_input) naming the question for one that is longer than
/// `max_seq_len` tokens or has ids outside of the vocabulary.
ChoiceScores score_choices(Context& ctx, CachedModel& model, const Tokenizer& tokenizer,
                           const std::vector<ChoiceQuestion>& questions, int64_t vocab_size,
                           int64_t max_seq_len, const PassLimits& limits);

}  // namespace trireme::launch
