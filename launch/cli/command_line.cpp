#include "launch/cli/command_line.h"

#include <fmt/format.h>
#include <boost/program_options.hpp>

namespace trireme::launch {

namespace {

namespace po = boost::program_options;

/// Boost stops at an empty value behind '='; as an argument of its own it passes.
std::vector<std::string> normalised(std::span<const std::string> args) {
  std::vector<std::string> out;
  for (const std::string& arg : args) {
    if (arg == "-h") {
      out.emplace_back("--help");
    } else if (arg.starts_with("--") && arg.size() > 3 && arg.find('=') == arg.size() - 1) {
      out.push_back(arg.substr(0, arg.size() - 1));
      out.emplace_back();
    } else {
      out.push_back(arg);
    }
  }
  return out;
}

/// Any number of values for any key: missing and superfluous ones are reported with all other errors, where
/// Boost would stop at the first.
po::options_description describe(std::span<const std::string> keys) {
  po::options_description description;
  for (const std::string& key : keys) {
    description.add_options()(key.c_str(),
                              po::value<std::vector<std::string>>()->multitoken()->zero_tokens());
  }
  return description;
}

}  // namespace

Settings read_command_line(std::span<const std::string> args, std::span<const std::string> keys) {
  Settings settings;
  const po::options_description description = describe(keys);
  constexpr int kStyle = po::command_line_style::allow_long | po::command_line_style::long_allow_adjacent |
                         po::command_line_style::long_allow_next;
  std::vector<po::option> options;
  try {
    options = po::command_line_parser(normalised(args))
                  .options(description)
                  .style(kStyle)
                  .allow_unregistered()
                  .run()
                  .options;
  } catch (const po::error& error) {
    settings.errors.push_back(fmt::format("command line: {}", error.what()));
    return settings;
  }
  bool takes_value = false;
  for (const po::option& option : options) {
    size_t used = 0;
    if (!option.string_key.empty()) {
      Setting setting{option.string_key, std::nullopt, "command line"};
      if (!option.value.empty()) setting.text = option.value[used++];
      takes_value = option.unregistered && !setting.text;
      settings.list.push_back(std::move(setting));
    } else if (takes_value && !option.value.empty()) {
      settings.list.back().text = option.value[used++];
      takes_value = false;
    }
    for (; used < option.value.size(); ++used) {
      settings.arguments.push_back(option.value[used]);
    }
  }
  return settings;
}

}  // namespace trireme::launch
