#include "launch/generate/inputs.h"

#include <algorithm>

#include "launch/checkpoint/agreed.h"
#include "launch/generate/text_generator.h"
#include "launch/preflight/available_memory.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int64_t kChatTokens = 1024;  // of an answer

std::vector<Prompt> prompts_of(const GenerateArguments& arguments) {
  if (!arguments.prompt_file.empty()) return read_prompts(arguments.prompt_file, arguments.text);
  std::vector<Prompt> prompts;
  for (const std::string& text : arguments.prompts) {
    Prompt prompt;
    prompt.text = text;
    prompt.options = arguments.text;
    prompt.where = arguments.prompts.size() == 1 ? "prompt" : fmt::format("prompt {}", prompts.size() + 1);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

int64_t max_seq_len_of(const GenerateArguments& arguments, const ModelConfig& config) {
  const int64_t asked = arguments.model.model.max_seq_len;
  if (asked > config.max_positions)
    throw_usage("--max-seq-len {} is more than the model's {} positions", asked, config.max_positions);
  const int64_t longest = asked > 0 ? asked : config.max_positions;
  const int64_t cached = arguments.model.cache_tokens;
  return cached > 0 ? std::min(longest, cached) : longest;
}

void read_on_rank_0(const GenerateArguments& arguments, GenerationInputs& inputs) {
  const ModelFiles& files = inputs.files;
  inputs.tokenizer = tokenizer_of(files);
  if (inputs.tokenizer == nullptr && (arguments.is_chat || arguments.applies_template))
    throw_usage("{}: no tokenizer lies beside the model: --tokenizer PATH names one", files.path);
  if (arguments.is_chat || arguments.applies_template)
    inputs.chat = std::make_unique<ChatFormat>(files, *inputs.tokenizer);
  RequestRules& rules = inputs.rules;
  rules.tokenizer = inputs.tokenizer.get();
  rules.chat = inputs.chat.get();
  rules.system = arguments.system;
  rules.end_tokens = end_tokens_of(files, inputs.tokenizer.get());
  rules.vocab_size = files.config.vocab_size;
  rules.max_seq_len = max_seq_len_of(arguments, files.config);
  rules.has_scores = arguments.has_logprobs;
  if (arguments.is_chat) rules.default_tokens = kChatTokens;
  for (const Prompt& prompt : prompts_of(arguments)) inputs.requests.push_back(request_of(prompt, rules));
}

}  // namespace

GenerationInputs read_inputs(Communicator& world, const GenerateArguments& arguments) {
  GenerationInputs inputs;
  together(world, [&] {
    inputs.files = find_model_files(arguments.model.path, arguments.model.tokenizer);
    if (world.rank() == 0) read_on_rank_0(arguments, inputs);
  });
  return inputs;
}

SharedRequests shared_of(Communicator& world, const GenerationInputs& inputs) {
  SharedRequests own;
  if (world.rank() == 0) {
    for (const TextRequest& request : inputs.requests) own.requests.push_back(request.generation);
    own.vocab_size = inputs.rules.vocab_size;
    if (inputs.tokenizer != nullptr)
      own.vocab_size = std::min(own.vocab_size, inputs.tokenizer->vocab_size());
  }
  return share(world, own);
}

TextLengths lengths_of(const GenerateArguments& arguments, const GenerationInputs& inputs) {
  if (arguments.is_chat) {
    const int64_t longest = inputs.rules.max_seq_len;
    return {{longest}, std::min(longest, 2 * kChatTokens)};
  }
  TextLengths lengths;
  for (const TextRequest& request : inputs.requests) {
    lengths.all.push_back(std::ssize(request.generation.prompt) + request.generation.max_tokens);
    lengths.least = std::max(lengths.least, lengths.all.back());
  }
  return lengths;
}

int64_t cache_tokens_of(const GenerateArguments& arguments, const GenerationInputs& inputs, Device device,
                        int local_ranks) {
  if (arguments.model.cache_tokens > 0) return arguments.model.cache_tokens;
  const TextLengths lengths = lengths_of(arguments, inputs);
  return default_cache_tokens(lengths.all, lengths.least, inputs.files.config, arguments.model,
                              available_memory(device).bytes / local_ranks);
}

}  // namespace trireme::launch
