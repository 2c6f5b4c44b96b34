// What a server reads before the model's weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "launch/generate/chat_format.h"
#include "launch/generate/model_files.h"
#include "launch/serve/api_keys.h"
#include "launch/serve/serve.h"

namespace trireme::launch {

struct ServedFiles {
  ModelFiles files;         ///< on every rank
  int64_t vocab_size = 0;   ///< that may be drawn, on every rank
  int64_t max_seq_len = 0;  ///< --max-seq-len, or the model's positions, on every rank
  // On rank 0:
  std::unique_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<const ChatFormat> chat;  ///< null: chat_trouble says why
  std::string chat_trouble;
  std::vector<int32_t> end_tokens;
  ApiKeys keys;
};

/// All ranks call it. AgreedEnd with what is wrong with the model's files, or on rank 0 with its tokenizer or
/// the file of keys. A chat template that is not there, or cannot be read, is no error.
ServedFiles read_served_files(Communicator& world, const ServeArguments& arguments);

}  // namespace trireme::launch
