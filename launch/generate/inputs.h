// What a generation reads before the model's weights.
#pragma once

#include <memory>
#include <vector>

#include "launch/generate/generate.h"
#include "launch/generate/shared_requests.h"
#include "launch/generate/text_request.h"

namespace trireme::launch {

struct GenerationInputs {
  ModelFiles files;  ///< on every rank
  // On rank 0:
  std::unique_ptr<const Tokenizer> tokenizer;  ///< null: none is known
  std::unique_ptr<const ChatFormat> chat;      ///< null: prompts are continued
  RequestRules rules;                          ///< point at these two
  std::vector<TextRequest> requests;           ///< none in a conversation
};

/// All ranks call it. AgreedEnd with what is wrong with the model's files, or on rank 0 with tokenizer,
/// template or prompts.
GenerationInputs read_inputs(Communicator& world, const GenerateArguments& arguments);

/// The requests and the vocabulary, on all ranks, which all call it.
SharedRequests shared_of(Communicator& world, const GenerationInputs& inputs);

/// Tokens of the texts: of each prompt and what may follow, of a conversation those that there may be.
struct TextLengths {
  std::vector<int64_t> all;
  int64_t least = 0;  ///< that the cache has to hold
};
TextLengths lengths_of(const GenerateArguments& arguments, const GenerationInputs& inputs);

/// Tokens that the cache is to hold: --cache-tokens, or default_cache_tokens() of the requests and of the
/// memory that is available now. On rank 0.
int64_t cache_tokens_of(const GenerateArguments& arguments, const GenerationInputs& inputs, Device device,
                        int local_ranks);

}  // namespace trireme::launch
