#include "launch/page/escape.h"

#include <cmath>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/report/visible_text.h"

namespace trireme::launch {

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : visible(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string json_text(std::string_view text) {
  std::string out;
  for (const char c : nlohmann::json(visible(text)).dump()) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

std::string json_texts(std::span<const std::string> texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? "," : "") + json_text(text);
  return out + "]";
}

std::string json_numbers(std::span<const double> numbers, int digits) {
  std::string out = "[";
  for (const double number : numbers) {
    if (out.size() > 1) out += ',';
    if (std::isfinite(number)) {
      fmt::format_to(std::back_inserter(out), "{:.{}g}", number, digits);
    } else {
      out += "null";
    }
  }
  return out + "]";
}

}  // namespace trireme::launch
