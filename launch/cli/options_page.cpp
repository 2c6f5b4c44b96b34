#include "launch/cli/options_page.h"

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/former_names.h"
#include "launch/cli/options/names_elsewhere.h"
#include "launch/cli/options/option_table.h"

namespace trireme::launch {

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

/// The others are configured by keys of files.
std::string_view dashes(std::string_view program) {
  return program == "Megatron-LM" || program == "torchtitan" ? "--" : "";
}

std::string others_of(const std::string& key) {
  std::string out;
  for (const FormerName& former : former_names()) {
    if (former.key == key) out += fmt::format("`{}` (before)", former.name);
  }
  for (const NameElsewhere& other : names_elsewhere()) {
    if (other.key == key)
      out += fmt::format("{}{}`{}{}` ({})", out.empty() ? "" : ", ", other.differs ? "near " : "",
                         dashes(other.program), other.name, other.program);
  }
  return out;
}

std::string row(const Option& option) {
  const std::string alias = option.alias.empty() ? "" : fmt::format(", `--{}`", option.alias);
  const std::string range = option.value.range.empty() ? "" : ", " + option.value.range;
  return fmt::format("| `--{}`{} | `{}`{} | {} | {} | {} |\n", option.key(), alias,
                     cell(option.value.placeholder), range, cell(default_text(option)), cell(option.help),
                     others_of(option.key()));
}

}  // namespace

std::string options_page() {
  std::string out =
      "# Options\n\n"
      "Written by `trireme info --options`. All are options of `trireme train`; `trireme verify` takes those "
      "of the last section\n"
      "too. Each is also a key of an INI file (`--config`), in the section named before the dot. The last "
      "column has the names\n"
      "of other programs: `trireme train` answers one of them with the option to use here. Where it says "
      "near, "
      "values mean another\n"
      "thing there: another unit, the contrary, or one of the things that ours chooses from.\n";
  std::vector<Option> options = all_options();
  for (Option& option : verify_options()) options.push_back(std::move(option));
  for (const OptionSection& section : option_sections()) {
    out += fmt::format(
        "\n## {}\n\n| option | value | default | what it sets | in other programs |\n|---|---|---|---|---|\n",
        section.title);
    for (const Option& option : options) {
      if (option.section == section.name) out += row(option);
    }
  }
  return out;
}

}  // namespace trireme::launch
