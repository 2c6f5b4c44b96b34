// Text through a model: how well it predicts one, and what it writes.
#pragma once

#include <optional>
#include <string>

#include "launch/config/run_config.h"
#include "launch/run/text_loss.h"
#include "launch/run/text_sample.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch::python {

struct TextModel {
  TrainingSession& session;
  Communicator& world;
  const Tokenizer* tokenizer;  ///< of the first rank; null: not known
  const RunConfig& config;
  std::optional<int32_t> end_of_text;  ///< where documents are kept apart
};

/// The first rank's text counts. All ranks call these. AgreedEnd (usage, bad_input) where there is no
/// tokenizer, or it cannot take the text.
TextLoss evaluate_text(const TextModel& model, const std::string& text);
/// On the first rank; elsewhere nothing. UserError (usage) for fewer than no tokens, or a temperature that is
/// not above 0.
std::string sample_of(const TextModel& model, const TextSampleOptions& options);

}  // namespace trireme::launch::python
