#include "launch/generate/prompts.h"

#include <algorithm>
#include <string_view>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/utf8.h"

namespace trireme::launch {

namespace {

using nlohmann::json;

constexpr const char* kKeys[] = {"prompt",
                                 "messages",
                                 "tokens",
                                 "id",
                                 "max_tokens",
                                 "temperature",
                                 "top_k",
                                 "top_p",
                                 "min_p",
                                 "repetition_penalty",
                                 "presence_penalty",
                                 "frequency_penalty",
                                 "seed",
                                 "stop"};

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

double number_of(const json& value, const char* key, const std::string& where) {
  if (!value.is_number()) throw_bad_input("{}: \"{}\" is {}; allowed: a number", where, key, value.dump());
  return value.get<double>();
}

int64_t whole_of(const json& value, const char* key, int64_t least, const std::string& where) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) ||
      value.get<int64_t>() < least)
    throw_bad_input("{}: \"{}\" is {}; allowed: a whole number, {} or more", where, key, value.dump(), least);
  return value.get<int64_t>();
}

std::vector<std::string> stops_of(const json& value, const std::string& where) {
  std::vector<std::string> stops;
  for (const json& stop : value.is_array() ? value : json::array({value})) {
    if (!stop.is_string() || stop.get_ref<const std::string&>().empty())
      throw_bad_input("{}: \"stop\" has {}; allowed: texts that are not empty", where, stop.dump());
    stops.push_back(stop.get<std::string>());
  }
  return stops;
}

void read_options(const json& line, const std::string& where, TextOptions& o) {
  const auto real = [&](const char* key, const char* option, double& field) {
    const auto found = line.find(key);
    if (found == line.end()) return;
    field = number_of(*found, key, where);
    o.given.emplace_back(option);
  };
  real("temperature", "temperature", o.sampling.temperature);
  real("top_p", "top-p", o.sampling.top_p);
  real("min_p", "min-p", o.sampling.min_p);
  real("repetition_penalty", "repetition-penalty", o.sampling.repetition_penalty);
  real("presence_penalty", "presence-penalty", o.sampling.presence_penalty);
  real("frequency_penalty", "frequency-penalty", o.sampling.frequency_penalty);
  if (line.contains("max_tokens")) o.max_tokens = whole_of(line["max_tokens"], "max_tokens", 1, where);
  if (line.contains("top_k")) {
    o.sampling.top_k = whole_of(line["top_k"], "top_k", 0, where);
    o.given.emplace_back("top-k");
  }
  if (line.contains("seed")) {
    o.sampling.seed = static_cast<uint64_t>(whole_of(line["seed"], "seed", 0, where));
    o.given.emplace_back("seed");
  }
  if (line.contains("stop")) o.stops = stops_of(line["stop"], where);
  const std::vector<std::string> errors = errors_of(o);
  if (!errors.empty()) throw_bad_input("{}: {}", where, fmt::join(errors, "; "));
}

void read_content(const json& line, const std::string& where, Prompt& prompt) {
  const auto count = line.count("prompt") + line.count("messages") + line.count("tokens");
  if (count != 1)
    throw_bad_input("{}: one of \"prompt\", \"messages\" and \"tokens\" is needed, found {}", where, count);
  if (line.contains("prompt")) prompt.text = json_string(line["prompt"], "\"prompt\"", where);
  if (line.contains("messages")) prompt.messages = line["messages"];
  if (!line.contains("tokens")) return;
  const json& tokens = line["tokens"];
  if (!tokens.is_array() || tokens.empty())
    throw_bad_input("{}: \"tokens\" is {}; allowed: a list of ids", where, tokens.dump());
  for (const json& id : tokens)
    prompt.tokens.push_back(static_cast<int32_t>(json_index(id, INT32_MAX, "an id of \"tokens\"", where)));
}

Prompt parse_line(const std::string& text, const std::string& where, const TextOptions& defaults) {
  const json line = parse_json(text, where);
  if (!line.is_object()) throw_bad_input("{}: a JSON {}, not an object", where, line.type_name());
  for (const auto& [key, value] : line.items()) {
    if (std::ranges::find(kKeys, key) == std::end(kKeys))
      throw_bad_input("{}: \"{}\" is no key of a prompt; these are: {}", where, key, fmt::join(kKeys, ", "));
  }
  Prompt prompt;
  prompt.options = defaults;
  prompt.where = where;
  if (line.contains("id")) prompt.id = line["id"];
  read_content(line, where, prompt);
  read_options(line, where, prompt.options);
  return prompt;
}

}  // namespace

std::vector<Prompt> parse_prompts(const std::string& text, const std::string& name,
                                  const TextOptions& defaults) {
  check_utf8(text, {name, 0});
  std::vector<Prompt> prompts;
  std::optional<bool> is_json;
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (is_blank(line)) continue;
    const std::string where = fmt::format("{}:{}", name, number);
    if (!is_json) is_json = line[line.find_first_not_of(" \t")] == '{';
    if (*is_json) {
      prompts.push_back(parse_line(line, where, defaults));
    } else {
      Prompt prompt;
      prompt.text = std::move(line);
      prompt.options = defaults;
      prompt.where = where;
      prompts.push_back(std::move(prompt));
    }
  }
  if (prompts.empty()) throw_bad_input("{} has no prompts: a text a line, or a JSON object a line", name);
  return prompts;
}

std::vector<Prompt> read_prompts(const std::string& path, const TextOptions& defaults) {
  return parse_prompts(read_text_file(path), path, defaults);
}

}  // namespace trireme::launch
