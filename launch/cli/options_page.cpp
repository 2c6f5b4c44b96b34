#include "launch/cli/options_page.h"

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/names_elsewhere.h"
#include "launch/cli/options/option_table.h"

namespace trireme {

namespace {

/// Text of a cell: a bar would end it.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string others_of(const std::string& key) {
  std::string out;
  for (const NameElsewhere& other : names_elsewhere()) {
    if (other.key == key)
      out += fmt::format("{}`{}` ({})", out.empty() ? "" : ", ", other.name, other.program);
  }
  return out;
}

std::string row(const Option& option) {
  const std::string alias = option.alias.empty() ? "" : fmt::format(", `--{}`", option.alias);
  return fmt::format("| `--{}`{} | `{}` | {} | {} | {} |\n", option.key(), alias,
                     cell(option.value.placeholder), cell(default_text(option)), cell(option.help),
                     others_of(option.key()));
}

}  // namespace

std::string options_page() {
  std::string out =
      "# Options\n\nMade by `trireme info --options`. Each is an option of `trireme train`, but those of the "
      "last section, which "
      "`trireme\nverify` takes besides, and a key in the section of the same name of an INI file "
      "(`--config`). The last column has "
      "its name\nin other programs; a wrong name that is one of those is answered with the right one.\n";
  std::vector<Option> options = all_options();
  for (Option& option : verify_options()) options.push_back(std::move(option));
  for (const OptionSection& section : option_sections()) {
    out += fmt::format(
        "\n## {}\n\n| option | takes | default | what it does | elsewhere |\n|---|---|---|---|---|\n",
        section.title);
    for (const Option& option : options) {
      if (option.section == section.name) out += row(option);
    }
  }
  return out;
}

}  // namespace trireme
