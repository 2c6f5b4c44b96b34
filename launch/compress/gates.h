// What a step made of the model, in figures, and whether its gate lets it pass.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "launch/compress/recipe.h"
#include "launch/evaluate/sample_statistics.h"

namespace trireme::launch {

/// Of the base, of a step or of an export.
struct StepFigures {
  std::string name, what;  ///< "base", "int4"; what it did
  int64_t bytes = 0;       ///< of all weights in the file, token tables included
  int64_t fp32_bytes = 0;  ///< of all weights of the base in fp32
  SampleMean loss;         ///< nats a token
  /// Of KL(base || this), nats a token, and of the tokens where both have the same likeliest; 0 and 1 of the
  /// base.
  SampleMean divergence;
  double divergence_99 = 0;
  SampleMean same_top = {1, 0};
  double tokens_per_second = 0;  ///< decoding one sequence
  double seconds = 0;            ///< that the step took
  double zeros = 0;              ///< share of the weights of layers' matrices, where a step made some

  double perplexity() const;
  double perplexity_error() const;  ///< carried over from the loss
  double size() const { return static_cast<double>(bytes) / static_cast<double>(fp32_bytes); }
};

/// Why the gate stops the chain: "--gate.perplexity: ..."; nothing: it does not.
std::optional<std::string> exceeded(const Gate& gate, const StepFigures& base, const StepFigures& step);

/// `over`'s limits where it has some, else `gate`'s.
Gate with(const Gate& gate, const Gate& over);

/// Numbers that are not finite are null.
nlohmann::ordered_json json_of(const StepFigures& figures);
StepFigures figures_of(const nlohmann::json& json);

/// The table of all steps, for a terminal, each beside the base.
std::string figures_header();
std::string figures_line(const StepFigures& figures, const StepFigures& base);

}  // namespace trireme::launch
