// Requests of clients meet the fuzzer's seeds, and changes of them.
#include <gtest/gtest.h>

#include "tests/fuzz/replay.h"
#include "tests/fuzz/request_case.h"

namespace trireme {
namespace {

TEST(RequestReplay, SeedsAndChangesOfThemAreAnsweredOrRefused) {
  test::expect_read_or_refused({"request", test::run_request, test::request_seeds()});
}

}  // namespace
}  // namespace trireme
