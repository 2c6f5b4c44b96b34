#include "launch/profile/core_waits.h"

#include <fstream>

#include <gtest/gtest.h>

#include "runtime/base/parallel_for.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

TEST(CoreWaits, AreThoseOfTheThreadThatWaitsLongest) {
  const test::TemporaryFolder folder;
  const std::filesystem::path files[] = {folder.path("a"), folder.path("b")};
  const auto write = [&](size_t i, const char* text) { std::ofstream(files[i]) << text; };
  write(0, "5000000000 1500000000 12\n");
  write(1, "1000000000 100000000 3\n");
  CoreWaits waits(files);
  EXPECT_EQ(waits.take(), 0);
  write(0, "6000000000 1750000000 13\n");
  write(1, "6000000000 500000000 13\n");
  EXPECT_NEAR(waits.take(), 0.4, 1e-9);
  EXPECT_EQ(waits.take(), 0);
}

TEST(CoreWaits, AreNoneWhereTheKernelDoesNotSay) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path("strange")) << "what";
  const std::filesystem::path files[] = {folder.path("none"), folder.path("strange")};
  CoreWaits waits(files);
  EXPECT_EQ(waits.take(), 0);
  EXPECT_EQ(waits.take(), 0);
}

TEST(CoreWaits, ATeamMayLoseThreads) {
  CoreWaits waits(4);
  for (const int threads : {4, 2, 3, 4}) {
    parallel_for(threads, threads, 1, [](int64_t, int64_t) {});
    const double waited = waits.take();
    EXPECT_GE(waited, 0);
    EXPECT_LT(waited, 60);
  }
}

}  // namespace
}  // namespace trireme::launch
