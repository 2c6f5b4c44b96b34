// main() of the test programs of one process.
#include <cstdlib>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/tier.h"
#include "tests/support/usage_listener.h"

namespace {

// Of this shard one half, 0 or 1.
void halve_shard(int half) {
  const auto number = [](const char* name, int otherwise) {
    const char* value = std::getenv(name);
    return value != nullptr ? std::atoi(value) : otherwise;
  };
  const int total = number("GTEST_TOTAL_SHARDS", 1), index = number("GTEST_SHARD_INDEX", 0);
  setenv("GTEST_TOTAL_SHARDS", std::to_string(2 * total).c_str(), 1);
  setenv("GTEST_SHARD_INDEX", std::to_string(index + half * total).c_str(), 1);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace trireme::test;
  testing::InitGoogleTest(&argc, argv);
  // In the CI tier alone: --ci-filter=F narrows the tests, --ci-half=0 or 1 runs every second one.
  constexpr std::string_view kCiFilter = "--ci-filter=", kCiHalf = "--ci-half=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(kCiFilter)) {
      if (!whole_tier()) testing::GTEST_FLAG(filter) = argument.substr(kCiFilter.size());
    } else if (argument == "--ci-half=0" || argument == "--ci-half=1") {
      if (!whole_tier()) halve_shard(argument[kCiHalf.size()] - '0');
    } else {
      fmt::print(stderr, "unknown argument {}\n", argument);
      return 2;
    }
  }
  auto& tests = *testing::UnitTest::GetInstance();
  tests.listeners().Append(new UsageListener);
  if (whole_tier()) fmt::print("whole sweeps; cases are drawn from seed {}\n", test_seed());
  const int result = RUN_ALL_TESTS();
  // gtest itself takes a filter that matches nothing for a success.
  if (!testing::GTEST_FLAG(list_tests) && tests.test_to_run_count() == 0) {
    fmt::print(stderr, "no test matches {}\n", testing::GTEST_FLAG(filter));
    return 1;
  }
  return result;
}
