// OpenAiApi: the requests of OpenAI's, vLLM's and lm-evaluation-harness' clients as texts of an engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/generate/chat_format.h"
#include "launch/serve/engine/text_engine.h"
#include "launch/serve/http/http_server.h"
#include "launch/serve/metrics/serving_metrics.h"
#include "launch/serve/protocol/request/grammar_store.h"
#include "runtime/data/tokenizer/tokenizer.h"
#include "runtime/text/grammar/token_masks.h"

namespace trireme::launch {

/// What the protocol knows of the model; pointers outlive the api.
struct ServedModel {
  std::string name;  ///< of "model" in requests and replies
  const Tokenizer* tokenizer = nullptr;
  const ChatFormat* chat = nullptr;         ///< null: no template, no /v1/chat/completions
  std::string chat_trouble;                 ///< and why
  std::shared_ptr<const TokenMasks> masks;  ///< for response_format
  std::shared_ptr<GrammarStore> grammars = std::make_shared<GrammarStore>();  ///< of response_format
  std::vector<int32_t> end_tokens;
  int64_t vocab_size = 0;   ///< that may be drawn and given
  int64_t max_seq_len = 0;  ///< of model and cache
  int64_t created = 0;      ///< seconds since 1970
};

struct ApiLimits {
  int64_t max_choices = 128;      ///< texts of one request: prompts times n
  int64_t max_alternatives = 20;  ///< logprobs
  double default_seconds = 0;     ///< deadline of a request; 0: none
};

class TokenNames;

/// Pages and their fields: docs/serving-fields.md.
class OpenAiApi {
 public:
  /// `engine` and `metrics` outlive it. `api_keys`: one of them is asked for in "Authorization: Bearer KEY";
  /// empty: none is.
  OpenAiApi(ServedModel model, ApiLimits limits, std::vector<std::string> api_keys, TextEngine& engine,
            ServingMetrics& metrics);

  ~OpenAiApi();
  OpenAiApi(const OpenAiApi&) = delete;
  OpenAiApi& operator=(const OpenAiApi&) = delete;

  /// One request; from several threads at once. The api and its model outlive all replies.
  void handle(HttpRequest request, std::shared_ptr<HttpReply> reply);

 private:
  void answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void complete(const HttpRequest& request, bool is_chat, const std::shared_ptr<HttpReply>& reply);

  ServedModel model_;
  ApiLimits limits_;
  std::vector<std::string> api_keys_;
  TextEngine& engine_;
  ServingMetrics& metrics_;
  std::unique_ptr<const TokenNames> names_;
  std::string fingerprint_;
};

}  // namespace trireme::launch
