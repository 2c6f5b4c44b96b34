#include "launch/serve/protocol/access.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>

namespace trireme::launch {
namespace {

bool is_same_key(std::string_view given, std::string_view key) {
  size_t difference = given.size() ^ key.size();
  for (size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<uint8_t>(given[i]) ^ static_cast<uint8_t>(key[i % key.size()]);
  return difference == 0;
}

bool may_stand_in_header(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == ':';
}

}  // namespace

bool has_access(std::string_view authorization, const std::vector<std::string>& keys) {
  if (keys.empty()) return true;
  constexpr std::string_view kScheme = "bearer ";
  const bool is_bearer =
      authorization.size() > kScheme.size() &&
      std::ranges::equal(authorization.substr(0, kScheme.size()), kScheme,
                         [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; });
  const std::string_view given = is_bearer ? authorization.substr(kScheme.size()) : std::string_view();
  int num_same = 0;
  for (const std::string& key : keys) num_same += !key.empty() && is_same_key(given, key) ? 1 : 0;
  return num_same > 0;
}

uint64_t random_number() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

std::string random_id() { return fmt::format("{:016x}{:016x}", random_number(), random_number()); }

std::string request_id_of(const HttpRequest& request) {
  constexpr size_t kLongest = 128;
  std::string id;
  for (const char c : request.header("x-request-id").substr(0, kLongest)) {
    if (may_stand_in_header(c)) id += c;
  }
  return id.empty() ? random_id() : id;
}

}  // namespace trireme::launch
