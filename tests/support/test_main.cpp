// main() of the test programs of one process.
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/tier.h"
#include "tests/support/usage_listener.h"

int main(int argc, char** argv) {
  using namespace trireme::test;
  testing::InitGoogleTest(&argc, argv);
  // --ci-filter=F narrows the tests in the CI tier alone.
  constexpr std::string_view kCiFilter = "--ci-filter=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(kCiFilter)) {
    if (!whole_tier()) testing::GTEST_FLAG(filter) = argv[1] + kCiFilter.size();
  } else if (argc > 1) {
    fmt::print(stderr, "unknown argument {}\n", argv[1]);
    return 2;
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
