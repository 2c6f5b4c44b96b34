#include "runtime/io/files/directory_lock.h"

#include <atomic>
#include <csignal>
#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

TEST(DirectoryLock, TheSecondIsToldWhoHasIt) {
  const test::TemporaryFolder folder;
  std::optional<DirectoryLock> lock(folder.path());
  test::expect_error(ExitCode::usage,
                     {folder.path(), "host ", fmt::format("process {}, since 20", ::getpid()), " UTC;"},
                     [&] { DirectoryLock second(folder.path()); });
  lock.reset();
  DirectoryLock third(folder.path());
}

TEST(DirectoryLock, EndsWithItsOwnerHoweverThatEnds) {
  const test::TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const DirectoryLock lock(folder.path());
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  test::expect_error(ExitCode::usage, {fmt::format("process {}", child)},
                     [&] { DirectoryLock second(folder.path()); });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  DirectoryLock next(folder.path());
  EXPECT_THAT(read_text_file(folder.path(".lock")), testing::HasSubstr(fmt::format("{}", ::getpid())));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(DirectoryLock, OfManyInOneInstantOneGetsItAndTheOthersNameIt) {
  const test::TemporaryFolder folder;
  folder.write(".lock", "host old, process 1, since long ago\n");
  std::atomic<int> winners = 0, waiting = 8;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      std::optional<DirectoryLock> lock;
      try {
        lock.emplace(folder.path());
        ++winners;
      } catch (const UserError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr(fmt::format("process {}", ::getpid())));
      }
      for (--waiting; waiting > 0;) std::this_thread::yield();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
}

TEST(DirectoryLock, ADirectoryThatIsNotThere) {
  test::expect_error(ExitCode::resources, {"cannot open /nowhere/.lock"},
                     [] { DirectoryLock lock("/nowhere"); });
}

}  // namespace
}  // namespace trireme
