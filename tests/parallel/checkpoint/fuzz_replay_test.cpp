// Readers of foreign files meet the fuzzers' seeds, and changes of them.
#include <gtest/gtest.h>

#include "tests/fuzz/replay.h"

namespace trireme {
namespace {

TEST(FuzzReplay, SeedsAndChangesOfThemAreReadOrRefused) {
  for (const test::FuzzCase& fuzz_case : test::fuzz_cases()) test::expect_read_or_refused(fuzz_case);
}

}  // namespace
}  // namespace trireme
