#include "models/config/attention_pattern.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr const char* kWords =
    "full, or one or more of window=N, sinks=N, stride=N/KEYS, blocks=N, summary=N, reach=N and "
    "globals=PLACE,PLACE";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Calls body(part) for the parts between `separator`.
template <class Body>
void for_each_part(std::string_view text, char separator, Body&& body) {
  for (;;) {
    const size_t end = text.find(separator);
    body(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

int64_t number_in(std::string_view word, std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 ||
      number > ops::KeyPattern::kMost) {
    throw_usage("'{}' in an attention pattern: '{}' is no whole number from 0 to {}", word, text,
                ops::KeyPattern::kMost);
  }
  return number;
}

// At least 1: what a word says 0 of is left out.
int64_t count_in(std::string_view word, std::string_view text) {
  const int64_t number = number_in(word, text);
  if (number == 0)
    throw_usage("'{}' in an attention pattern: it must be 1 or more; for none, leave it out", word);
  return number;
}

void read_globals(std::string_view word, std::string_view text, ops::KeyPattern& keys) {
  for_each_part(text, ',', [&](std::string_view part) {
    const int64_t place = number_in(word, part);
    const int64_t n = keys.num_globals;
    if (n == ops::KeyPattern::kMostGlobals) {
      throw_usage("'{}' in an attention pattern: at most {} global tokens", word,
                  ops::KeyPattern::kMostGlobals);
    }
    if (n > 0 && place <= keys.globals[static_cast<size_t>(n - 1)])
      throw_usage("'{}' in an attention pattern: places must ascend", word);
    keys.globals[static_cast<size_t>(n)] = static_cast<int32_t>(place);
    ++keys.num_globals;
  });
}

void read_stride(std::string_view word, std::string_view text, ops::KeyPattern& keys) {
  const size_t slash = text.find('/');
  keys.stride = count_in(word, text.substr(0, slash));
  if (slash != std::string_view::npos) keys.stride_keys = count_in(word, text.substr(slash + 1));
}

void read_word(std::string_view word, std::vector<std::string_view>& seen, AttentionPattern& pattern) {
  const size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
  if (std::ranges::find(seen, key) != seen.end())
    throw_usage("'{}' in an attention pattern: {} is given twice", word, key);
  seen.push_back(key);
  ops::KeyPattern& keys = pattern.keys;
  if (key == "window") {
    pattern.window = count_in(word, value);
  } else if (key == "sinks") {
    keys.sinks = count_in(word, value);
  } else if (key == "stride") {
    read_stride(word, value, keys);
  } else if (key == "blocks") {
    keys.block = count_in(word, value);
  } else if (key == "summary") {
    keys.summary = count_in(word, value);
  } else if (key == "reach") {
    keys.reach = count_in(word, value);
  } else if (key == "globals") {
    read_globals(word, value, keys);
  } else {
    throw_usage("'{}' in an attention pattern: it must be {}", word, kWords);
  }
}

AttentionPattern read_pattern(std::string_view text) {
  AttentionPattern pattern;
  std::vector<std::string_view> seen;
  bool is_full = false;
  for_each_part(text, ' ', [&](std::string_view word) {
    if (word.empty()) return;
    if (word == "full")
      is_full = true;
    else
      read_word(word, seen, pattern);
  });
  if (!is_full && seen.empty()) throw_usage("an attention pattern is empty: it must be {}", kWords);
  if (is_full && !seen.empty())
    throw_usage("'{}': full attention sees all keys, and nothing stands beside it", text);
  const ops::KeyPattern& keys = pattern.keys;
  if (keys.block == 0 && (keys.summary > 0 || keys.reach > 0))
    throw_usage("'{}': summary and reach belong to blocks=N", text);
  const std::string why = why_not(keys);
  if (!why.empty()) throw_usage("'{}': {}", text, why);
  return pattern;
}

}  // namespace

std::vector<AttentionPattern> read_attention_patterns(std::string_view text) {
  std::vector<AttentionPattern> patterns;
  if (trimmed(text).empty()) return patterns;
  for_each_part(text, ';', [&](std::string_view part) { patterns.push_back(read_pattern(trimmed(part))); });
  return patterns;
}

std::string to_text(const AttentionPattern& pattern) {
  if (pattern.is_full()) return "full";
  std::string text;
  const auto add = [&text](std::string_view word, int64_t number) {
    if (number > 0) text += fmt::format("{}{}={}", text.empty() ? "" : " ", word, number);
  };
  const ops::KeyPattern& keys = pattern.keys;
  add("window", pattern.window);
  add("sinks", keys.sinks);
  add("stride", keys.stride);
  if (keys.stride_keys > 0) text += fmt::format("/{}", keys.stride_keys);
  add("blocks", keys.block);
  add("summary", keys.summary);
  add("reach", keys.reach);
  for (int64_t g = 0; g < keys.num_globals; ++g)
    text += (g > 0          ? ","
             : text.empty() ? "globals="
                            : " globals=") +
            fmt::to_string(keys.globals[static_cast<size_t>(g)]);
  return text;
}

std::string to_text(const std::vector<AttentionPattern>& patterns) {
  std::string text;
  for (const AttentionPattern& pattern : patterns) text += (text.empty() ? "" : "; ") + to_text(pattern);
  return text;
}

}  // namespace trireme
