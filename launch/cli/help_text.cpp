#include "launch/cli/help_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_table.h"

namespace trireme::launch {

namespace {

constexpr size_t kIndent = 34, kWidth = 100;

/// `text` broken at blanks, every line but the first behind kIndent blanks.
std::string wrapped(std::string_view text) {
  std::string out;
  while (text.size() > kWidth - kIndent) {
    size_t cut = text.rfind(' ', kWidth - kIndent);
    if (cut == std::string_view::npos) cut = text.find(' ');
    if (cut == std::string_view::npos) break;
    out += fmt::format("{}\n{:{}}", text.substr(0, cut), "", kIndent);
    text.remove_prefix(cut + 1);
  }
  return out + std::string(text);
}

HelpLine help_line(const Option& option) {
  std::string left = "--" + option.key();
  if (!option.alias.empty()) left += ", --" + option.alias;
  left += " " + option.value.placeholder;
  return {left, fmt::format("{} [{}]", option.help, default_text(option))};
}

}  // namespace

std::string default_text(const Option& option) {
  return option.shown_default.empty() ? quote_ini(option.value.get(RunConfig())) : option.shown_default;
}

std::string help_lines(std::span<const HelpLine> lines) {
  std::string out;
  for (const auto& [left, right] : lines) {
    const bool fits = left.size() + 4 <= kIndent;
    out += fmt::format("  {:{}}", left, kIndent - 2);
    if (!fits) out += fmt::format("\n{:{}}", "", kIndent);
    out += wrapped(right) + "\n";
  }
  return out;
}

std::string help_options(std::span<const Option> options) {
  std::string out;
  for (const OptionSection& section : option_sections()) {
    std::vector<HelpLine> lines;
    for (const Option& option : options) {
      if (option.section == section.name) lines.push_back(help_line(option));
    }
    if (!lines.empty()) out += fmt::format("\n{}\n{}", section.title, help_lines(lines));
  }
  return out;
}

}  // namespace trireme::launch
