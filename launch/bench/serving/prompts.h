// Prompts of a load client, drawn from a seed.
#pragma once

#include <cstdint>
#include <string>

namespace trireme::launch {

struct PromptOptions {
  int64_t tokens = 128;
  int64_t shared_prefix = 0;  ///< tokens at the beginning that all prompts have alike
  bool are_ids = false;       ///< token ids; else English words, about one token each
  int64_t vocab = 8192;       ///< ids are drawn from its upper half, where no special tokens are wont to be
  uint64_t seed = 0;
};

/// The JSON of prompt number `index`: an array of numbers, or a string. A pure function of its arguments.
/// With four tokens behind the shared prefix, and ids of 256 at least, any two of 2^28 differ in one of
/// these.
std::string prompt_json(const PromptOptions& options, uint64_t index, int64_t tokens);

}  // namespace trireme::launch
