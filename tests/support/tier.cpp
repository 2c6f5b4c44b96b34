#include "tests/support/tier.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string_view>

#include <fmt/format.h>

namespace trireme::test {

namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

[[noreturn]] void refuse(std::string_view name, std::string_view value, std::string_view expected) {
  fmt::print(stderr, "{} is '{}', expected {}\n", name, value, expected);
  std::exit(2);
}

}  // namespace

bool whole_tier() {
  const std::string_view tier = variable("TRIREME_TEST_TIER");
  if (!tier.empty() && tier != "ci" && tier != "whole") refuse("TRIREME_TEST_TIER", tier, "ci or whole");
  return tier == "whole";
}

bool is_short_under_sanitizer() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return !whole_tier();
#else
  return false;
#endif
}

uint64_t test_seed() {
  const std::string_view text = variable("TRIREME_TEST_SEED");
  uint64_t seed = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || seed > 1'000'000'000) refuse("TRIREME_TEST_SEED", text, "a number");
    seed = seed * 10 + static_cast<uint64_t>(c - '0');
  }
  return seed;
}

std::vector<size_t> draw_below(size_t count, size_t at_most, uint32_t salt) {
  std::vector<size_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), size_t{0});
  std::mt19937 draw(salt + 1);  // the standard fixes its numbers, but not those of distributions and shuffles
  for (size_t i = 0; i < std::min(count, at_most); ++i)
    std::swap(numbers[i], numbers[i + draw() % (count - i)]);
  numbers.resize(std::min(count, at_most));
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace trireme::test
