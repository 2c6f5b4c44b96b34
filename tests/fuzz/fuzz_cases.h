// Readers of checkpoints', models' and tokenizers' files and of requests on any bytes: they return or throw
// UserError, and nothing else. libFuzzer calls them (tests/fuzz/run.sh); CI replays the seeds and changes of
// them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::test {

struct FuzzCase {
  std::string_view name;
  /// Returns whether the input was read; a crash, another exception or a broken promise is what is looked
  /// for.
  bool (*run)(std::string_view input);
  std::vector<std::string> seeds;
};

/// "gguf": a whole file, the tokenizer and the model in it; "hf": a config.json, or "I" and an index of
/// weights; "http": what a client sends; "template": a chat template; "grammar": a JSON schema or JSON;
/// "manifest": what follows the first line of a manifest (which carries its hash); "safetensors": a whole
/// file; "teacher": a description of teacher's tokens, or rows of them; "tokenizer": a tokenizer's file of
/// any kind. Seeds are good files, and what other readers of such files have stumbled over.
std::vector<FuzzCase> fuzz_cases();

}  // namespace trireme::test
