// Options of a text: how its tokens are drawn, and what ends it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/cli/plain_arguments.h"
#include "models/inference/sampling.h"

namespace trireme::launch {

struct TextOptions {
  std::optional<int64_t> max_tokens;  ///< none: a default, and no more than fits the sequence
  SamplingOptions sampling;
  std::vector<std::string> stops;
  std::vector<std::string> end_tokens;  ///< empty: the model's
  bool ignores_end = false;

  // Which were given, for options without effect.
  std::vector<std::string> given;
};

/// Rows for help and parser; `options` outlives them.
std::vector<PlainOption> text_options(TextOptions& options);

/// What is wrong with them, and options without effect: what shapes a draw where the temperature is 0.
std::vector<std::string> errors_of(const TextOptions& options);

}  // namespace trireme::launch
