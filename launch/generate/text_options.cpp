#include "launch/generate/text_options.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace trireme::launch {

namespace {

template <class T>
std::function<std::string(const std::string&)> number_into(TextOptions& o, T& field, const char* name,
                                                           const char* allowed) {
  return [&o, &field, name, allowed](const std::string& text) -> std::string {
    const auto number = option_values::parse_number<T>(text);
    if (!number) return allowed;
    field = *number;
    o.given.emplace_back(name);
    return "";
  };
}

std::function<std::string(const std::string&)> appended_to(std::vector<std::string>& list) {
  return [&list](const std::string& text) -> std::string {
    if (text.empty()) return "a text that is not empty";
    list.push_back(text);
    return "";
  };
}

std::vector<PlainOption> sampling_options(TextOptions& o) {
  constexpr const char* kNumber = "a number";
  SamplingOptions& s = o.sampling;
  return {
      {"temperature", "X", "divides logits before a draw: higher is more varied; 0: the likeliest token", "0",
       number_into(o, s.temperature, "temperature", kNumber)},
      {"top-k", "N", "draw among the N likeliest tokens; 0: all", "0",
       number_into(o, s.top_k, "top-k", "a whole number")},
      {"top-p", "X", "draw among the likeliest tokens that have this probability together", "1",
       number_into(o, s.top_p, "top-p", kNumber)},
      {"min-p", "X", "draw among tokens with this part of the likeliest one's probability, or more", "0",
       number_into(o, s.min_p, "min-p", kNumber)},
      {"repetition-penalty", "X", "divides positive logits of tokens of prompt and text, multiplies negative",
       "1", number_into(o, s.repetition_penalty, "repetition-penalty", kNumber)},
      {"presence-penalty", "X", "subtracted from the logits of tokens of the text", "0",
       number_into(o, s.presence_penalty, "presence-penalty", kNumber)},
      {"frequency-penalty", "X", "the same for each time that a token is there", "0",
       number_into(o, s.frequency_penalty, "frequency-penalty", kNumber)},
      {"seed", "N", "seed of the draws: equal seeds give equal text, whatever runs beside it", "0",
       number_into(o, s.seed, "seed", "a whole number, 0 or more")},
  };
}

}  // namespace

std::vector<PlainOption> text_options(TextOptions& o) {
  std::vector<PlainOption> options = {{"max-tokens", "N", "most tokens of a text",
                                       "256 (--chat: 1024), or what fits the sequence",
                                       [&o](const std::string& text) -> std::string {
                                         const auto number = option_values::parse_number<int64_t>(text);
                                         if (!number || *number < 1) return "a whole number, 1 or more";
                                         o.max_tokens = *number;
                                         return "";
                                       }}};
  const auto sampling = sampling_options(o);
  options.insert(options.end(), sampling.begin(), sampling.end());
  options.push_back({"stop", "TEXT", "ends the text before this one, wherever it comes; may be given again",
                     "none", appended_to(o.stops)});
  options.push_back({"end-token", "TOKEN", "ends the text (<|im_end|>); may be given again",
                     "the model's: of generation_config.json, config.json, the GGUF file, the tokenizer",
                     appended_to(o.end_tokens)});
  options.push_back({"ignore-end", "", "end tokens end no text", "", [&o](const std::string&) {
                       o.ignores_end = true;
                       return std::string();
                     }});
  return options;
}

std::vector<std::string> errors_of(const TextOptions& o) {
  std::vector<std::string> errors = trireme::errors_of(o.sampling);
  if (o.ignores_end && !o.end_tokens.empty())
    errors.push_back(fmt::format("--end-token {} has no effect with --ignore-end", o.end_tokens.front()));
  if (o.sampling.temperature != 0) return errors;
  std::vector<std::string> idle;
  for (const char* name : {"top-k", "top-p", "min-p", "seed"}) {
    if (std::ranges::find(o.given, name) != o.given.end()) idle.push_back(fmt::format("--{}", name));
  }
  if (!idle.empty()) {
    errors.push_back(
        fmt::format("{}: no effect at temperature 0, where the likeliest token is taken; give --temperature",
                    fmt::join(idle, ", ")));
  }
  return errors;
}

}  // namespace trireme::launch
