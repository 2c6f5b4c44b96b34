#include <algorithm>
#include <array>
#include <utility>

#include "launch/serve/protocol/api_error.h"
#include "launch/serve/protocol/grammar_filter.h"
#include "launch/serve/protocol/request/api_request.h"
#include "launch/serve/protocol/request/prompts.h"
#include "launch/serve/protocol/request/response_format.h"
#include "launch/serve/protocol/request/sampling_fields.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;

void read_stream_options(const FieldReader& fields, ReplyOptions& reply) {
  reply.streams = fields.boolean("stream", false);
  const ordered_json* options = fields.object("stream_options");
  if (options == nullptr) return;
  if (!reply.streams) refuse("stream_options", "\"stream_options\" is given, but \"stream\" is not true");
  constexpr std::array<std::string_view, 3> kMembers{"include_usage", "continuous_usage_stats",
                                                     "include_obfuscation"};
  check_members(*options, "stream_options.", kMembers);
  const FieldReader inner(*options, "stream_options.");
  reply.has_usage = inner.boolean("include_usage", false);
  reply.repeats_usage = inner.boolean("continuous_usage_stats", false);
  if (inner.boolean("include_obfuscation", false))
    refuse("stream_options", "\"stream_options.include_obfuscation\" is true; chunks are not padded");
}

void read_reply_options(const FieldReader& fields, const ApiLimits& limits, ApiRequest& request) {
  ReplyOptions& reply = request.reply;
  read_stream_options(fields, reply);
  reply.names_ids = fields.boolean("return_tokens_as_token_ids", false);
  reply.has_token_ids = fields.boolean("return_token_ids", false);
  request.n = fields.integer("n", 1, 1, limits.max_choices);
  const int64_t best_of = fields.integer("best_of", request.n, 0, INT32_MAX);
  if (best_of != request.n)
    refuse("best_of", "\"best_of\" is {} and \"n\" {}; allowed: the same, all texts are given", best_of,
           request.n);
  if (reply.names_ids && !reply.logprobs)
    refuse("return_tokens_as_token_ids", "\"return_tokens_as_token_ids\" is true without \"logprobs\"");
}

/// ApiError where prompts and texts are more or longer than the model has room for.
void check_room(const ServedModel& model, const ApiLimits& limits, const ApiRequest& request) {
  const int64_t num_texts = std::ssize(request.prompts) * request.n;
  if (num_texts > limits.max_choices) {
    refuse(request.n > 1 ? "n" : "prompt", "{} prompts with n = {} are {} texts; allowed: {} of one request",
           request.prompts.size(), request.n, num_texts, limits.max_choices);
  }
  // Without max_tokens what fits, but that much at least.
  const int64_t most = request.max_tokens.value_or(std::max<int64_t>(1, request.generation.min_tokens));
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    const int64_t length = std::ssize(request.prompts[i].tokens);
    if (length + most <= model.max_seq_len) continue;
    throw ApiError{
        .message = fmt::format(
            "prompt {} has {} tokens; with {} of the text these are {}, but the longest sequence has {}: "
            "shorten it by {}, or ask for fewer",
            i, length, most, length + most, model.max_seq_len, length + most - model.max_seq_len),
        .param = request.reply.is_chat ? "messages" : "prompt",
        .code = "context_length_exceeded"};
  }
}

void read_common(const FieldReader& fields, const ServedModel& model, const ApiLimits& limits,
                 ApiRequest& request) {
  read_sampling_fields(fields, model, request);
  read_reply_options(fields, limits, request);
  request.grammar = read_response_format(fields, model);
  if (request.seconds == 0) request.seconds = limits.default_seconds;
  request.generation.num_alternatives = request.reply.logprobs.value_or(-1);
  const int64_t least = request.reply.echoes && request.reply.logprobs ? 0 : 1;
  const char* name = fields.has("max_tokens") ? "max_tokens" : "max_completion_tokens";
  if (request.max_tokens && *request.max_tokens < least)
    refuse(name, "\"{}\" is 0; allowed: 1 or more (0 with \"echo\" and \"logprobs\" of /v1/completions)",
           name);
  if (request.max_tokens && request.generation.min_tokens > *request.max_tokens)
    refuse("min_tokens", "\"min_tokens\" is {}, above the most tokens of a text, {}",
           request.generation.min_tokens, *request.max_tokens);
}

}  // namespace

void check_model(const ordered_json& body, const ServedModel& model) {
  const auto name = FieldReader(body).string("model");
  if (!name || *name == model.name) return;
  throw ApiError{.status = 404,
                 .message = fmt::format("the model {} is not here; this server has \"{}\"",
                                        shown_value(*name), model.name),
                 .param = "model",
                 .code = "model_not_found"};
}

ApiRequest read_completion_request(const ordered_json& body, const ServedModel& model,
                                   const ApiLimits& limits) {
  check_fields(Endpoint::completions, body);
  check_model(body, model);
  const FieldReader fields(body);
  ApiRequest request;
  request.reply.echoes = fields.boolean("echo", false);
  if (fields.has("logprobs"))
    request.reply.logprobs = fields.integer("logprobs", 0, 0, limits.max_alternatives);
  read_common(fields, model, limits, request);
  request.generation.scores_prompt = request.reply.echoes && request.reply.logprobs;
  request.prompts = read_prompts(fields, model);
  check_room(model, limits, request);
  return request;
}

ApiRequest read_chat_request(const ordered_json& body, const ServedModel& model, const ApiLimits& limits) {
  check_fields(Endpoint::chat, body);
  check_model(body, model);
  const FieldReader fields(body);
  ApiRequest request;
  request.reply.is_chat = true;
  const bool has_logprobs = fields.boolean("logprobs", false);
  const int64_t alternatives = fields.integer("top_logprobs", 0, 0, limits.max_alternatives);
  if (has_logprobs) request.reply.logprobs = alternatives;
  if (!has_logprobs && alternatives > 0)
    refuse("top_logprobs", "\"top_logprobs\" is {}, but \"logprobs\" is not true", alternatives);
  read_common(fields, model, limits, request);
  request.prompts.push_back({read_conversation(fields, model), "", 0});
  check_room(model, limits, request);
  return request;
}

std::vector<ServedText> texts_of(const ApiRequest& request, const ServedModel& model, uint64_t random_seed) {
  constexpr int64_t kDefaultTokens = 16;  // OpenAI's, of completions
  const auto now = std::chrono::steady_clock::now();
  std::vector<ServedText> texts;
  for (const ApiPrompt& prompt : request.prompts) {
    const int64_t room = model.max_seq_len - std::ssize(prompt.tokens);
    for (int64_t choice = 0; choice < request.n; ++choice) {
      ServedText text;
      text.generation = request.generation;
      text.generation.prompt = prompt.tokens;
      text.generation.max_tokens = request.max_tokens.value_or(
          request.reply.is_chat ? room
                                : std::min(room, std::max(kDefaultTokens, request.generation.min_tokens)));
      text.generation.sampling.seed =
          request.seed ? *request.seed + static_cast<uint64_t>(choice) : random_seed + texts.size();
      if (request.grammar != nullptr)
        text.generation.filter =
            std::make_shared<GrammarFilter>(request.grammar, model.masks, model.end_tokens);
      text.stops = request.stops;
      text.includes_stop = request.includes_stop;
      text.keeps_specials = request.keeps_specials;
      if (request.seconds > 0)
        text.deadline = now + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                  std::chrono::duration<double>(request.seconds));
      texts.push_back(std::move(text));
    }
  }
  return texts;
}

}  // namespace trireme::launch
