// Options of early exit at generation (docs/early-exit.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/cli/plain_arguments.h"
#include "models/config/model_config.h"
#include "models/inference/cached_model.h"

namespace trireme::launch {

struct ExitArguments {
  std::vector<int64_t> layers;  ///< after so many blocks the head reads; empty: the model's exits
  double confidence = 0;        ///< ExitRule::confidence

  bool is_on() const { return confidence > 0; }
};

/// --draft-model of the model's own first blocks.
inline constexpr const char* kSelfDrafts = "self";

/// Rows for help and parser; `arguments` outlives them. `drafts`: whether the command has --draft-model too.
std::vector<PlainOption> exit_options(ExitArguments& arguments, bool drafts);

/// Options without effect, and those that do not go together. `is_self`: --draft-model self.
std::vector<std::string> errors_of(const ExitArguments& arguments, bool is_self, int64_t pipeline);

/// The rule for `model`; UserError (usage) naming the exits that it has, or the blocks after which one can
/// be.
ExitRule exit_rule_of(const ModelConfig& model, const ExitArguments& arguments);
/// GeneratorOptions::draft_blocks for --draft-model self: --exit.layer, or the model's first exit. The same
/// errors.
int64_t draft_blocks_of(const ModelConfig& model, const ExitArguments& arguments);

/// Lines without a newline, for who starts the program: that texts are not the whole model's, that the model
/// was not trained for exits.
std::vector<std::string> exit_warnings(const ModelConfig& model, const ExitArguments& arguments,
                                       bool is_self);

}  // namespace trireme::launch
