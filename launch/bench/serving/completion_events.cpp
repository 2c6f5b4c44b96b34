#include "launch/bench/serving/completion_events.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {

namespace {

/// What follows `"name":`, without blanks; empty: there is none. In strings of JSON quotes are escaped, so
/// that no text can look like a name.
std::string_view after_name(std::string_view json, std::string_view quoted_name) {
  for (size_t at = json.find(quoted_name); at != std::string_view::npos;
       at = json.find(quoted_name, at + 1)) {
    const size_t colon = json.find_first_not_of(' ', at + quoted_name.size());
    if (colon == std::string_view::npos || json[colon] != ':') continue;
    const size_t value = json.find_first_not_of(' ', colon + 1);
    return value == std::string_view::npos ? std::string_view() : json.substr(value);
  }
  return {};
}

bool has_choice(std::string_view json) {
  const std::string_view choices = after_name(json, "\"choices\"");
  if (!choices.starts_with('[')) return false;
  const size_t first = choices.find_first_not_of(' ', 1);
  return first != std::string_view::npos && choices[first] == '{';
}

nlohmann::ordered_json parsed(std::string_view text) {
  return nlohmann::ordered_json::parse(text, nullptr, false);  // discarded where it is none
}

int64_t whole_at(const nlohmann::ordered_json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : -1;
}

}  // namespace

std::string error_message(std::string_view body) {
  const nlohmann::ordered_json json = parsed(body);
  if (json.is_object() && json.contains("error")) {
    const auto& error = json["error"];
    if (error.is_string()) return error.get<std::string>();
    if (error.is_object() && error.contains("message") && error["message"].is_string())
      return error["message"].get<std::string>();
  }
  return std::string(body.substr(0, 200));
}

void CompletionEvents::feed(std::string_view body, double now) {
  while (!body.empty()) {
    const size_t end = body.find('\n');
    if (end == std::string_view::npos) {
      begun_ += body;
      return;
    }
    if (begun_.empty()) {
      take_line(body.substr(0, end), now);
    } else {
      begun_ += body.substr(0, end);
      take_line(begun_, now);
      begun_.clear();
    }
    body.remove_prefix(end + 1);
  }
}

void CompletionEvents::take_line(std::string_view line, double now) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (!line.starts_with("data:")) return;  // blank, a comment, or another field
  line.remove_prefix(5);
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (is_done_) {
    failure_ = "events after [DONE]";
  } else if (line == "[DONE]") {
    is_done_ = true;
  } else {
    take_event(line, now);
  }
}

void CompletionEvents::take_event(std::string_view data, double now) {
  if (has_choice(data)) {
    const std::string_view finish = after_name(data, "\"finish_reason\"");
    if (finish.starts_with('"')) record_.finish = finish.substr(1, finish.find('"', 1) - 1);
    // Some servers end a text with an event that has no token.
    if (!(finish.starts_with('"') && after_name(data, "\"text\"").starts_with("\"\"")))
      record_.events.push_back(now);
  } else if (!after_name(data, "\"error\"").empty()) {
    failure_ = error_message(data);
  }
  if (after_name(data, "\"usage\"").starts_with('{')) usage_ = data;
}

void CompletionEvents::take_usage() {
  const nlohmann::ordered_json json = parsed(usage_);
  if (!json.is_object() || !json.contains("usage") || !json["usage"].is_object()) return;
  record_.prompt_tokens = whole_at(json["usage"], "prompt_tokens");
  record_.tokens = whole_at(json["usage"], "completion_tokens");
}

void CompletionEvents::finish(int64_t max_tokens) {
  if (!usage_.empty()) take_usage();
  record_.error = error_of(max_tokens);
}

std::string CompletionEvents::error_of(int64_t max_tokens) const {
  if (!failure_.empty()) return failure_;
  if (!is_done_) return "the stream ended without [DONE]";
  if (record_.finish.empty()) return "no finish_reason";
  if (record_.tokens < 0) return "";
  const auto events = static_cast<int64_t>(record_.events.size());
  if (events > record_.tokens)
    return fmt::format("{} events with text, but usage says {} tokens", events, record_.tokens);
  if (record_.finish == "length" && record_.tokens != max_tokens)
    return fmt::format("finish_reason length after {} tokens of {}", record_.tokens, max_tokens);
  return "";
}

}  // namespace trireme::launch
