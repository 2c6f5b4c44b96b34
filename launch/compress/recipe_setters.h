// Setters of keys of several tables.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace trireme::launch {

using SetKey = std::function<std::string(const std::string&)>;

inline std::vector<std::string> split_at(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

inline SetKey on_off_into(std::optional<bool>& field) {
  return [&field](const std::string& text) -> std::string {
    if (text != "on" && text != "off" && !text.empty()) return "on or off";
    field = text != "off";
    return "";
  };
}

}  // namespace trireme::launch
