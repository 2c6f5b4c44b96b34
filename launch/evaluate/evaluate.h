// Evaluates a model on texts: `trireme evaluate`.
#pragma once

#include <string>
#include <vector>

#include "launch/evaluate/report.h"
#include "launch/generate/inference_arguments.h"

namespace trireme::launch {

struct EvaluateArguments {
  InferenceArguments model;
  std::string text, choices;  ///< files; empty: none
  std::string against;        ///< a reference; empty: none
  int64_t seq_len = 0;  ///< 0: that of a run's training, else the model's longest, at most kDefaultSeqLen
  bool begins = false;  ///< ScoredText::begins

  static constexpr int64_t kDefaultSeqLen = 4096;
};

/// What does not go together, and options without effect.
std::vector<std::string> errors_of(const EvaluateArguments& arguments);

/// All ranks of `world` call it with equal, complete arguments and get the report. Rank 0 reads the texts.
/// The reference has its weights as its files have them, multiplied exactly. Errors of InferenceModel,
/// score_text() and score_choices(); UserError (usage) where the reference has another vocabulary, or other
/// tokens for the text; AgreedEnd where files cannot be read.
EvaluationReport evaluate(Context& ctx, Communicator& world, const EvaluateArguments& arguments);

}  // namespace trireme::launch
