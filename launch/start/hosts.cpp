#include "launch/start/hosts.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string_view>

#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

constexpr int kMostSlots = 1 << 20;

std::optional<int> slots_in(std::string_view text) {
  int slots = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slots);
  if (error != std::errc() || end != text.data() + text.size() || slots < 1 || slots > kMostSlots)
    return std::nullopt;
  return slots;
}

bool is_host_name(std::string_view name) {
  return !name.empty() && name.front() != '-' && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  });
}

/// "h1:4" or "h1"; nothing where it is neither.
std::optional<HostSlots> host_in(std::string_view text) {
  const size_t colon = text.find(':');
  HostSlots host{std::string(text.substr(0, colon)), 0};
  if (!is_host_name(host.name)) return std::nullopt;
  if (colon == std::string_view::npos) return host;
  const auto slots = slots_in(text.substr(colon + 1));
  if (!slots) return std::nullopt;
  host.slots = *slots;
  return host;
}

bool is_there(const std::vector<HostSlots>& hosts, const HostSlots& host) {
  return std::ranges::find(hosts, host.name, &HostSlots::name) != hosts.end();
}

/// The words of a line behind the host: slots=N counts, max_slots=N is the same bound to Open MPI.
std::string take_word(std::string_view word, HostSlots& host) {
  const size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  if (equals == std::string_view::npos || (key != "slots" && key != "max_slots" && key != "max-slots"))
    return fmt::format("'{}' is not slots=N", word);
  const auto slots = slots_in(word.substr(equals + 1));
  if (!slots) return fmt::format("'{}' is not slots=N with N from 1 to {}", word, kMostSlots);
  if (key == "slots") host.slots = *slots;
  return "";
}

}  // namespace

std::vector<HostSlots> parse_host_list(const std::string& list) {
  std::vector<HostSlots> hosts;
  std::istringstream parts(list + ",");
  for (std::string part; std::getline(parts, part, ',');) {
    const auto host = host_in(part);
    if (!host) {
      throw_usage(
          "--hosts {}: '{}' is not HOST or HOST:RANKS, and there is no file of that name; allowed: "
          "h1:4,h2:4, or a file with a line 'h1 slots=4' a host",
          list, part);
    }
    if (is_there(hosts, *host)) throw_usage("--hosts {}: {} is there twice", list, host->name);
    hosts.push_back(*host);
  }
  return hosts;
}

std::vector<HostSlots> read_host_file(const std::string& path) {
  std::vector<HostSlots> hosts;
  std::istringstream lines(read_text_file(path));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    auto host = host_in(word);
    if (!host) throw_bad_input("{}:{}: '{}' is not a host; a line is 'h1 slots=4'", path, number, word);
    while (words >> word) {
      if (const std::string wrong = take_word(word, *host); !wrong.empty())
        throw_bad_input("{}:{}: {}; a line is 'h1 slots=4'", path, number, wrong);
    }
    if (is_there(hosts, *host)) throw_bad_input("{}:{}: {} is there twice", path, number, host->name);
    hosts.push_back(*host);
  }
  if (hosts.empty()) throw_bad_input("{}: it names no host; a line is 'h1 slots=4'", path);
  return hosts;
}

std::vector<HostSlots> read_hosts(const std::string& file_or_list) {
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(file_or_list, error);
  return is_file ? read_host_file(file_or_list) : parse_host_list(file_or_list);
}

}  // namespace trireme::launch
