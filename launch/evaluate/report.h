// What an evaluation found, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "launch/evaluate/choices.h"
#include "launch/evaluate/text_score.h"

namespace trireme::launch {

struct EvaluationReport {
  std::string model, model_text;          ///< path, and what was loaded
  std::string reference, reference_text;  ///< the same of --against; empty: none
  std::string text_file, choices_file;
  int64_t seq_len = 0;
  std::optional<TextScore> text;
  std::optional<ChoiceScores> choices;
  /// With --exit.confidence: every token of texts and choices could leave.
  struct Exits {
    ExitRule rule;
    ExitCounts counts;
    int64_t layers = 0;  ///< of the model
  };
  std::optional<Exits> exits;
  std::string note;  ///< empty: none
};

std::string evaluation_text(const EvaluationReport& report);
/// Numbers that are not finite are null.
nlohmann::ordered_json evaluation_json(const EvaluationReport& report);

}  // namespace trireme::launch
