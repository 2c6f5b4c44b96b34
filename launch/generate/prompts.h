// Prompts as they are given: on the command line, or in a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/generate/text_options.h"

namespace trireme::launch {

struct Prompt {
  std::string text;
  std::vector<int32_t> tokens;      ///< given in place of a text; empty: there is one
  nlohmann::ordered_json messages;  ///< a conversation in place of a text; null: there is none
  nlohmann::ordered_json id;        ///< as the file has it; null: none
  TextOptions options;
  std::string where;  ///< "prompts.jsonl:3", for messages
};

/// Of a file: where its first line is a JSON object, one object a line with "prompt" (a text), "messages" or
/// "tokens", and optionally "id" and what of `defaults` is another ("max_tokens", "temperature", "top_k",
/// "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "stop": a text or
/// a list). Else a text a line. Empty lines are passed over. UserError (bad_input) naming file, line and key;
/// for a file without prompts too.
std::vector<Prompt> read_prompts(const std::string& path, const TextOptions& defaults);

/// The same of a text in memory; `name` is the file's.
std::vector<Prompt> parse_prompts(const std::string& text, const std::string& name,
                                  const TextOptions& defaults);

}  // namespace trireme::launch
