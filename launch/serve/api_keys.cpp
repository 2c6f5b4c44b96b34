#include "launch/serve/api_keys.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include <sys/stat.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

std::string_view trimmed_key(std::string_view line) {
  constexpr const char* kSpaces = " \t\r\n";
  const size_t begin = line.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kSpaces) - begin + 1);
}

void add_key(ApiKeys& keys, std::string_view key, const std::string& where) {
  const auto is_visible = [](char c) { return c > ' ' && c < 0x7f; };
  if (!std::ranges::all_of(key, is_visible))
    throw_bad_input("{}: an API key is letters, digits and signs of ASCII, without spaces", where);
  keys.keys.emplace_back(key);
}

}  // namespace

ApiKeys read_api_keys(const std::string& file, const char* variable) {
  ApiKeys keys;
  if (file.empty()) {
    const std::string_view key = trimmed_key(variable != nullptr ? variable : "");
    if (variable != nullptr && key.empty())
      throw_bad_input("TRIREME_API_KEY is set, and empty: give it a key, or unset it");
    if (!key.empty()) add_key(keys, key, "TRIREME_API_KEY");
    return keys;
  }
  std::ifstream in(file);
  struct stat facts = {};
  if (!in || ::stat(file.c_str(), &facts) != 0 || S_ISDIR(facts.st_mode))
    throw_bad_input("--api-key-file {}: it cannot be read: {}", file,
                    in ? "it is a directory" : std::strerror(errno));
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const std::string_view key = trimmed_key(line);
    if (!key.empty()) add_key(keys, key, fmt::format("{}:{}", file, number));
  }
  if (keys.keys.empty()) throw_bad_input("--api-key-file {}: no key is in it; write one a line", file);
  if ((facts.st_mode & S_IROTH) != 0)
    keys.warning = fmt::format("{} can be read by everybody on this machine: chmod 600 {}", file, file);
  return keys;
}

}  // namespace trireme::launch
