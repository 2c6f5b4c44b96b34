#include "launch/cli/plain_arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/cli/command_line.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"

namespace trireme::launch {

std::function<std::string(const std::string&)> text_into(std::string& field) {
  return [&field](const std::string& text) {
    field = text;
    return std::string();
  };
}

std::function<std::string(const std::string&)> switch_into(bool& field) {
  return [&field](const std::string&) {
    field = true;
    return std::string();
  };
}

std::string help_plain(std::span<const PlainOption> options) {
  std::vector<HelpLine> lines;
  for (const PlainOption& option : options) {
    if (option.placeholder.empty()) {
      lines.emplace_back("--" + option.name, option.help);
    } else {
      lines.emplace_back(fmt::format("--{} {}", option.name, option.placeholder),
                         fmt::format("{} [{}]", option.help, option.shown_default));
    }
  }
  return help_lines(lines);
}

std::vector<std::string> parse_plain_arguments(const std::string& command,
                                               std::span<const PlainOption> options,
                                               std::span<const std::string> args,
                                               std::vector<std::string>& errors) {
  std::vector<std::string> names;
  for (const PlainOption& option : options) names.push_back(option.name);
  // What follows a switch is no value of it.
  std::vector<std::string> ordered(args.begin(), args.end());
  std::ranges::stable_partition(ordered, [&](const std::string& arg) {
    return std::ranges::none_of(options, [&](const PlainOption& option) {
      return option.placeholder.empty() && arg == "--" + option.name;
    });
  });
  Settings settings = read_command_line(ordered, names);
  errors.insert(errors.end(), settings.errors.begin(), settings.errors.end());
  for (const Setting& setting : settings.list) {
    const auto option = std::ranges::find(options, setting.key, &PlainOption::name);
    if (option == options.end()) {
      errors.push_back(fmt::format("--{} is not an option of trireme {}{}", setting.key, command,
                                   did_you_mean(setting.key, names, "--")));
    } else if (option->placeholder.empty()) {
      if (setting.text) {
        errors.push_back(fmt::format("--{} takes no value; given '{}'", setting.key, *setting.text));
      }
      option->set("");
    } else if (!setting.text) {
      errors.push_back(fmt::format("--{} needs a value: {}", setting.key, option->placeholder));
    } else if (const std::string allowed = option->set(*setting.text); !allowed.empty()) {
      errors.push_back(fmt::format("--{} is '{}'; allowed: {}", setting.key, *setting.text, allowed));
    }
  }
  return settings.arguments;
}

}  // namespace trireme::launch
