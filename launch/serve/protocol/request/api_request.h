// ApiRequest: what a client asks for, checked; and the texts of it for the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/serve/engine/text_engine.h"
#include "launch/serve/protocol/openai_api.h"
#include "launch/serve/protocol/request/known_fields.h"
#include "runtime/text/grammar/byte_grammar.h"

namespace trireme::launch {

struct ApiPrompt {
  std::vector<int32_t> tokens;
  std::string text;       ///< that echo gives: the prompt as it came, or what its tokens decode to
  int64_t num_added = 0;  ///< tokens at its begin that the tokenizer's file puts there, not of `text`
};

/// What replies look like.
struct ReplyOptions {
  bool is_chat = false, streams = false;
  bool has_usage = false;      ///< of a stream: a last chunk with it
  bool repeats_usage = false;  ///< and in all others
  bool echoes = false;
  std::optional<int64_t> logprobs;  ///< alternatives of each token
  bool names_ids = false;           ///< tokens are "token_id:7"
  bool has_token_ids = false;
};

struct ApiRequest {
  ReplyOptions reply;
  std::vector<ApiPrompt> prompts;
  int64_t n = 1;                 ///< texts of each prompt
  GenerationRequest generation;  ///< of every text but prompt, filter and seed
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;  ///< absent: what fits
  std::vector<std::string> stops;
  bool includes_stop = false, keeps_specials = false;
  std::shared_ptr<const ByteGrammar> grammar;
  double seconds = 0;  ///< until its deadline; 0: none
};

/// ApiError (400, 404) as fields are wrong, unknown, refused or do not fit the model.
ApiRequest read_completion_request(const nlohmann::ordered_json& body, const ServedModel& model,
                                   const ApiLimits& limits);
ApiRequest read_chat_request(const nlohmann::ordered_json& body, const ServedModel& model,
                             const ApiLimits& limits);

/// One for each prompt and choice, prompts outer, without sinks. Choice i of every prompt draws with seed +
/// i, so that a prompt has the text that it has alone; without a seed text number i with `random_seed` + i.
std::vector<ServedText> texts_of(const ApiRequest& request, const ServedModel& model, uint64_t random_seed);

/// ApiError (404) where the body names another model.
void check_model(const nlohmann::ordered_json& body, const ServedModel& model);

}  // namespace trireme::launch
