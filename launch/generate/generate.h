// trireme generate: texts of a model, for prompts or in a conversation.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "launch/generate/inference_arguments.h"
#include "launch/generate/speculation_options.h"
#include "launch/generate/text_options.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

struct GenerateArguments {
  InferenceArguments model;
  TextOptions text;
  SpeculationArguments speculation;
  std::vector<std::string> prompts;  ///< of the command line
  std::string prompt_file;           ///< empty: none
  std::string system;                ///< empty: none
  bool is_chat = false;
  bool applies_template = false;
  bool is_json = false;
  bool has_logprobs = false;
  bool is_quiet = false;
};

/// What does not go together, and options without effect.
std::vector<std::string> errors_of(const GenerateArguments& arguments);

/// All ranks of `world` call it with equal, complete arguments; `local_ranks` of them share this host. Rank 0
/// reads prompts and writes: to `out` the text of a single prompt as it comes, of several each when it and
/// those before it are complete, or JSON, a line each; to standard error the speed. Signals end all texts at
/// the next token (AgreedEnd with 128 + signal); in a conversation SIGINT ends the answer.
void generate(Context& ctx, Communicator& world, const GenerateArguments& arguments, int local_ranks,
              std::FILE* out);

}  // namespace trireme::launch
