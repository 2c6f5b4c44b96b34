#include "launch/serve/served_files.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "launch/checkpoint/agreed.h"
#include "launch/generate/shared_requests.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

int64_t longest_of(const ServeArguments& arguments, const ModelConfig& config) {
  const int64_t asked = arguments.model.model.max_seq_len;
  if (asked > config.max_positions)
    throw_usage("--max-seq-len {} is more than the model's {} positions", asked, config.max_positions);
  return asked > 0 ? asked : config.max_positions;
}

void read_chat_format(ServedFiles& served) {
  try {
    ChatTemplateText source = chat_template_of(served.files, *served.tokenizer);
    if (source.text.empty()) {
      served.chat_trouble =
          "there is no chat template (chat_template in tokenizer_config.json, chat_template.jinja, or "
          "tokenizer.chat_template of a GGUF file)";
      return;
    }
    served.chat = std::make_unique<ChatFormat>(std::move(source), *served.tokenizer);
  } catch (const UserError& error) {
    served.chat_trouble = error.what();
  }
}

void read_on_first_rank(const ServeArguments& arguments, ServedFiles& served) {
  served.tokenizer = tokenizer_of(served.files);
  if (served.tokenizer == nullptr)
    throw_usage("{}: no tokenizer lies beside the model: --tokenizer PATH names one", served.files.path);
  read_chat_format(served);
  served.end_tokens = end_tokens_of(served.files, served.tokenizer.get());
  served.vocab_size = std::min(served.vocab_size, served.tokenizer->vocab_size());
  served.keys = read_api_keys(arguments.api_key_file, std::getenv("TRIREME_API_KEY"));
}

}  // namespace

ServedFiles read_served_files(Communicator& world, const ServeArguments& arguments) {
  ServedFiles served;
  together(world, [&] {
    served.files = find_model_files(arguments.model.path, arguments.model.tokenizer);
    served.vocab_size = served.files.config.vocab_size;
    served.max_seq_len = longest_of(arguments, served.files.config);
    if (world.rank() == 0) read_on_first_rank(arguments, served);
  });
  served.vocab_size = share_number(world, served.vocab_size);
  return served;
}

}  // namespace trireme::launch
