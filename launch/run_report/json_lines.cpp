#include "launch/run_report/json_lines.h"

#include <charconv>
#include <optional>

#include "runtime/io/json/utf8.h"

namespace trireme::launch {

namespace {

/// Of "step": 12 or "step": 12.0 wherever the line has it first.
std::optional<int64_t> step_in(std::string_view line) {
  constexpr std::string_view kKey = "\"step\"";
  size_t at = line.find(kKey);
  if (at == std::string_view::npos) return std::nullopt;
  at = line.find_first_not_of(" \t", at + kKey.size());
  if (at == std::string_view::npos || line[at] != ':') return std::nullopt;
  at = line.find_first_not_of(" \t", at + 1);
  if (at == std::string_view::npos) return std::nullopt;
  int64_t step = 0;
  const auto read = std::from_chars(line.data() + at, line.data() + line.size(), step);
  if (read.ec != std::errc() || step < 0) return std::nullopt;
  return step;
}

/// Each byte that is no UTF-8 as U+FFFD.
std::string as_utf8(std::string_view line) {
  std::string out;
  while (const auto error = find_utf8_error(line)) {
    out += line.substr(0, error->offset);
    out += "\uFFFD";
    line.remove_prefix(error->offset + 1);
  }
  return out += line;
}

/// NaN, Infinity and -Infinity outside of strings as null, which other programs write.
std::string with_nulls(std::string_view line) {
  std::string out;
  bool is_in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (is_in_string && c == '\\' && i + 1 < line.size()) {
      out += line.substr(i++, 2);
      continue;
    }
    if (c == '"') is_in_string = !is_in_string;
    bool is_replaced = false;
    for (const std::string_view word : {"NaN", "nan", "-Infinity", "Infinity", "-inf", "inf"}) {
      if (is_in_string || line.substr(i, word.size()) != word) continue;
      out += "null";
      i += word.size() - 1;
      is_replaced = true;
      break;
    }
    if (!is_replaced) out += c;
  }
  return out;
}

}  // namespace

JsonLines::JsonLines(std::string text, Order order) : text_(std::move(text)) {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const bool is_last = end == std::string_view::npos || end + 1 == rest.size();
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (end == std::string_view::npos) is_cut_ = true;
    if (!line.empty()) take(line, order, is_last);
  }
}

void JsonLines::take(std::string_view line, Order order, bool is_last) {
  const auto step = step_in(line);
  if (!step || line.front() != '{' || line.back() != '}') {
    if (is_last) {
      is_cut_ = true;
    } else {
      ++num_damaged_;
    }
    return;
  }
  while (order == Order::ascending && !steps_.empty() && steps_.back() >= *step) {
    steps_.pop_back();
    lines_.pop_back();
    ++num_taken_back_;
  }
  steps_.push_back(*step);
  lines_.push_back(line);
}

nlohmann::json JsonLines::parse(size_t i) {
  auto json = nlohmann::json::parse(lines_[i], nullptr, false);
  if (json.is_discarded()) json = nlohmann::json::parse(with_nulls(as_utf8(lines_[i])), nullptr, false);
  if (json.is_object()) return json;
  ++num_damaged_;
  return nlohmann::json::object();
}

}  // namespace trireme::launch
