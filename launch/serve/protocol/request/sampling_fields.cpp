#include "launch/serve/protocol/request/sampling_fields.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "launch/serve/protocol/api_error.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;
constexpr int64_t kMostPriority = 1'000'000;

/// `token`, which the request has as `value`.
int32_t known_token(std::optional<int64_t> token, const ordered_json& value, const std::string& field,
                    const ServedModel& model) {
  if (!token || *token < 0 || *token >= model.vocab_size) {
    refuse(field, "\"{}\" has the token {}; allowed: ids from 0 to {}", field, shown_value(value),
           model.vocab_size - 1);
  }
  return static_cast<int32_t>(*token);
}

std::optional<int64_t> integer_of_name(const std::string& name) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

void read_logit_bias(const FieldReader& fields, const ServedModel& model, SamplingOptions& sampling) {
  const ordered_json* biases = fields.object("logit_bias");
  if (biases == nullptr) return;
  constexpr double kMost = 100;
  for (const auto& [name, bias] : biases->items()) {
    const int32_t id = known_token(integer_of_name(name), name, "logit_bias", model);
    if (!bias.is_number() || !(std::abs(bias.get<double>()) <= kMost))
      refuse("logit_bias", "\"logit_bias\" of token {} is {}; allowed: a number from -100 to 100", id,
             shown_value(bias));
    sampling.logit_bias.emplace_back(id, bias.get<float>());
  }
  // Names may differ and mean one token ("7" and "07"), and a sum must not depend on their order.
  std::ranges::sort(sampling.logit_bias);
  const auto twice =
      std::ranges::adjacent_find(sampling.logit_bias, {}, [](const auto& b) { return b.first; });
  if (twice != sampling.logit_bias.end())
    refuse("logit_bias", "\"logit_bias\" has the token {} twice", twice->first);
}

SamplingOptions read_sampling(const FieldReader& fields, const ServedModel& model) {
  constexpr double kHottest = 100, kMostPenalty = 2, kMostRepetition = 10;
  SamplingOptions sampling;
  sampling.temperature = fields.number("temperature", 1, 0, kHottest);
  sampling.top_p = fields.number("top_p", 1, 0, 1);
  if (sampling.top_p == 0)
    refuse("top_p", "\"top_p\" is 0; allowed: above 0, up to 1; for greedy texts use temperature 0");
  sampling.top_k = std::max<int64_t>(
      0, fields.integer("top_k", 0, -1, std::numeric_limits<int32_t>::max()));  // -1: all, as in vLLM
  sampling.min_p = fields.number("min_p", 0, 0, 1);
  sampling.presence_penalty = fields.number("presence_penalty", 0, -kMostPenalty, kMostPenalty);
  sampling.frequency_penalty = fields.number("frequency_penalty", 0, -kMostPenalty, kMostPenalty);
  sampling.repetition_penalty = fields.number("repetition_penalty", 1, 0, kMostRepetition);
  if (sampling.repetition_penalty == 0)
    refuse("repetition_penalty", "\"repetition_penalty\" is 0; allowed: above 0, up to {}", kMostRepetition);
  read_logit_bias(fields, model, sampling);
  return sampling;
}

std::optional<uint64_t> read_seed(const FieldReader& fields) {
  const ordered_json* seed = fields.find("seed");
  if (seed == nullptr) return std::nullopt;
  if (seed->is_number_unsigned()) return seed->get<uint64_t>();
  return static_cast<uint64_t>(fields.integer("seed", 0, INT64_MIN, INT64_MAX));
}

std::vector<std::string> read_stops(const FieldReader& fields) {
  constexpr size_t kMost = 16, kLongest = 1024;
  const ordered_json* stop = fields.find("stop");
  if (stop == nullptr) return {};
  const ordered_json list = stop->is_string() ? ordered_json::array({*stop}) : *stop;
  if (!list.is_array() || list.size() > kMost)
    fields.refuse_value("stop", *stop, fmt::format("a string, or a list of up to {} strings", kMost));
  std::vector<std::string> stops;
  for (const ordered_json& text : list) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty() ||
        text.get_ref<const std::string&>().size() > kLongest) {
      refuse("stop", "\"stop\" has {}; allowed: strings of 1 to {} bytes", shown_value(text), kLongest);
    }
    if (std::ranges::find(stops, text.get_ref<const std::string&>()) == stops.end())
      stops.push_back(text.get<std::string>());
  }
  return stops;
}

void read_ends(const FieldReader& fields, const ServedModel& model, GenerationRequest& generation) {
  if (!fields.boolean("ignore_eos", false)) generation.end_tokens = model.end_tokens;
  const ordered_json* tokens = fields.find("stop_token_ids");
  if (tokens == nullptr) return;
  constexpr size_t kMost = 64;
  if (!tokens->is_array() || tokens->size() > kMost)
    fields.refuse_value("stop_token_ids", *tokens, fmt::format("a list of up to {} token ids", kMost));
  for (const ordered_json& token : *tokens) {
    const int32_t id = known_token(integer_of(token), token, "stop_token_ids", model);
    if (std::ranges::find(generation.end_tokens, id) == generation.end_tokens.end())
      generation.end_tokens.push_back(id);
  }
}

}  // namespace

void read_sampling_fields(const FieldReader& fields, const ServedModel& model, ApiRequest& request) {
  GenerationRequest& generation = request.generation;
  generation.sampling = read_sampling(fields, model);
  request.seed = read_seed(fields);
  request.stops = read_stops(fields);
  request.includes_stop = fields.boolean("include_stop_str_in_output", false);
  request.keeps_specials = !fields.boolean("skip_special_tokens", true);
  read_ends(fields, model, generation);
  generation.priority = fields.integer("priority", 0, -kMostPriority, kMostPriority);
  constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    if (!fields.has(name)) continue;
    const int64_t most = fields.integer(name, 0, 0, kMostTokens);
    if (request.max_tokens && *request.max_tokens != most)
      refuse(name, "\"max_tokens\" is {} and \"max_completion_tokens\" {}; give one", *request.max_tokens,
             most);
    request.max_tokens = most;
  }
  generation.min_tokens = fields.integer("min_tokens", 0, 0, kMostTokens);
  constexpr double kLongestWait = 86'400;
  request.seconds = fields.number("timeout", 0, 0, kLongestWait);
  if (fields.has("timeout") && request.seconds == 0)
    refuse("timeout", "\"timeout\" is 0; allowed: seconds above 0, up to {}", kLongestWait);
}

}  // namespace trireme::launch
