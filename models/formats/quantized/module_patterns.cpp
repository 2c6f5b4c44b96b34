#include "models/formats/quantized/module_patterns.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/ranges.h>

namespace trireme {

namespace {

/// "model.layers.3.mlp.experts.7.up": its first number, and a pattern of it without any.
struct Numbered {
  std::string number, pattern;
};

bool is_number(const std::string& word) {
  return !word.empty() && std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
}

/// Words of letters, digits and "_" alone: no other character has a meaning of its own.
Numbered numbered(const std::string& module) {
  Numbered out;
  for (size_t begin = 0; begin <= module.size();) {
    const size_t end = std::min(module.find('.', begin), module.size());
    const std::string word = module.substr(begin, end - begin);
    if (!out.pattern.empty()) out.pattern += "\\.";
    if (!is_number(word)) {
      out.pattern += word;
    } else if (out.number.empty()) {
      out.number = word;
      out.pattern += "{}";
    } else {
      out.pattern += "[0-9]+";
    }
    begin = end + 1;
  }
  return out;
}

std::string escaped(const std::string& module) {
  std::string out;
  for (const char c : module) out += c == '.' ? std::string("\\.") : std::string(1, c);
  return out;
}

}  // namespace

std::vector<std::string> module_patterns(const std::vector<std::string>& modules,
                                         const std::vector<std::string>& others) {
  std::set<std::pair<std::string, std::string>> taken;
  for (const std::string& other : others) {
    const Numbered n = numbered(other);
    taken.insert({n.pattern, n.number});
  }
  std::map<std::string, std::set<int64_t>> layers;
  std::vector<std::string> patterns;
  for (const std::string& module : modules) {
    const Numbered n = numbered(module);
    if (n.number.empty() || taken.contains({n.pattern, n.number})) {
      patterns.push_back(escaped(module));
    } else {
      layers[n.pattern].insert(std::stoll(n.number));
    }
  }
  for (const auto& [pattern, numbers] : layers) {
    std::string text = pattern;
    text.replace(text.find("{}"), 2, fmt::format("({})", fmt::join(numbers, "|")));
    patterns.push_back(text);
  }
  return patterns;
}

}  // namespace trireme
