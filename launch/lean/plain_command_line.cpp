// read_command_line without Boost, for the program that generates alone.
#include "launch/cli/command_line.h"

#include <string_view>

namespace trireme::launch {

// A key has all that follows up to the next one: the first is its value, others stand alone. Behind "--" all
// do.
Settings read_command_line(std::span<const std::string> args, std::span<const std::string>) {
  Settings settings;
  bool takes_value = false, has_keys = true;
  for (const std::string& arg : args) {
    const std::string_view word = arg == "-h" ? "--help" : std::string_view(arg);
    if (has_keys && word == "--") {
      takes_value = has_keys = false;
    } else if (has_keys && word.starts_with("--")) {
      const size_t end = word.find('=');
      Setting setting{std::string(word.substr(2, end == word.npos ? end : end - 2)), std::nullopt,
                      "command line"};
      if (end != word.npos) setting.text = std::string(word.substr(end + 1));
      takes_value = !setting.text;
      settings.list.push_back(std::move(setting));
    } else if (takes_value) {
      settings.list.back().text = arg;
      takes_value = false;
    } else {
      settings.arguments.push_back(arg);
    }
  }
  return settings;
}

}  // namespace trireme::launch
