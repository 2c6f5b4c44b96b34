#include "runtime/io/files/durable_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// One kind of call fails with an error, or writes a part only.
class OneFails final : public FileCalls {
 public:
  explicit OneFails(std::string call, int error) : call_(std::move(call)), error_(error) {}
  int open(const char* path, int flags, mode_t mode) override {
    return fails("open") ? -1 : FileCalls::open(path, flags, mode);
  }
  ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) override {
    if (call_ == "short" && size > 1) return FileCalls::pwrite(fd, bytes, 1 + size / 3, offset);
    if (call_ == "zero") return 0;
    return fails("pwrite") ? -1 : FileCalls::pwrite(fd, bytes, size, offset);
  }
  int fsync(int fd) override { return fails("fsync") ? -1 : FileCalls::fsync(fd); }
  int close(int fd) override {
    FileCalls::close(fd);
    return fails("close") ? -1 : 0;
  }
  int rename(const char* from, const char* to) override {
    return fails("rename") ? -1 : FileCalls::rename(from, to);
  }
  int interruptions = 0;  // before each call succeeds

 private:
  bool fails(std::string_view call) {
    if (call == "pwrite" && interruptions > 0) {
      --interruptions;
      errno = EINTR;
      return true;
    }
    errno = error_;
    return call == call_;
  }
  std::string call_;
  int error_;
};

TEST(DurableFile, EveryFailingCallNamesPathAndError) {
  struct Case {
    const char* call;
    int error;
    const char* message;
  };
  for (const Case& c : {Case{"open", EACCES, "cannot create"}, Case{"pwrite", ENOSPC, "cannot write"},
                        Case{"fsync", EIO, "cannot sync"}, Case{"close", EDQUOT, "cannot close"},
                        Case{"rename", EROFS, "cannot rename"}}) {
    const test::TemporaryFolder folder;
    OneFails calls(c.call, c.error);
    test::expect_error(ExitCode::resources,
                       {c.message, folder.path("x"), std::strerror(c.error), ::strerrorname_np(c.error)},
                       [&] { replace_file(calls, folder.path("x"), "contents"); });
    EXPECT_FALSE(std::filesystem::exists(folder.path("x"))) << c.call;
  }
}

TEST(DurableFile, ShortWritesAndInterruptionsGoOn) {
  const test::TemporaryFolder folder;
  OneFails calls("short", 0);
  replace_file(calls, folder.path("x"), "some text that takes several calls");
  EXPECT_EQ(read_text_file(folder.path("x")), "some text that takes several calls");
  OneFails interrupted("", 0);
  interrupted.interruptions = 3;
  replace_file(interrupted, folder.path("x"), "other text");
  EXPECT_EQ(read_text_file(folder.path("x")), "other text");
  EXPECT_THAT(folder.names(), ElementsAre("x"));
  OneFails zero("zero", 0);
  test::expect_error(ExitCode::resources, {"accepts no more bytes"},
                     [&] { replace_file(zero, folder.path("x"), "never"); });
  EXPECT_EQ(read_text_file(folder.path("x")), "other text");
}

/// Notes of each write how many bytes went past the page cache; refuses those where it is told to.
class DirectWrites final : public FileCalls {
 public:
  ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) override {
    const bool is_direct = (::fcntl(fd, F_GETFL) & O_DIRECT) != 0;
    if (is_direct && refuses) {
      errno = EINVAL;
      return -1;
    }
    writes.emplace_back(is_direct, size);
    // What the system takes of it at once.
    return FileCalls::pwrite(fd, bytes, std::min(size, most), offset);
  }
  bool refuses = false;
  size_t most = size_t{1} << 30;
  std::vector<std::pair<bool, size_t>> writes;
};

TEST(DurableFile, LargePiecesInWholeBlocksGoPastThePageCacheAndAllElseDoesNot) {
  const test::TemporaryFolder folder;
  constexpr size_t kBlock = DurableFile::kBlockBytes, kLarge = 32 * kBlock;
  const std::unique_ptr<char, void (*)(void*)> memory(
      static_cast<char*>(std::aligned_alloc(kBlock, 2 * kLarge)), std::free);
  for (size_t i = 0; i < 2 * kLarge; ++i) memory.get()[i] = static_cast<char>(i * i >> 7);
  const std::string_view all(memory.get(), kLarge + 1234);
  const auto write = [&](DirectWrites& calls, std::string_view name, std::string_view first) {
    DurableFile file(calls, folder.path(name));
    file.write(first);
    file.write(all);
    file.sync();
    file.close();
    EXPECT_EQ(read_text_file(folder.path(name)), std::string(first) + std::string(all)) << name;
  };
  DirectWrites plain;
  write(plain, "plain", "");
  // Not every file system can: the bits are the same there.
  const bool can = plain.writes[0].first;
  if (can) {
    EXPECT_THAT(plain.writes, ElementsAre(std::pair(true, kLarge), std::pair(false, size_t{1234})));
  }
  DirectWrites moved;
  write(moved, "moved", "x");
  EXPECT_THAT(moved.writes, ElementsAre(std::pair(false, size_t{1}), std::pair(false, all.size())));
  DirectWrites refused;
  refused.refuses = true;
  write(refused, "refused", "");
  EXPECT_THAT(refused.writes, ElementsAre(std::pair(false, all.size())));
  DirectWrites in_parts;
  in_parts.most = kBlock;
  write(in_parts, "in parts", "");
  EXPECT_GT(in_parts.writes.size(), 2);
}

TEST(DurableFile, IsNeverPutOverAnotherFile) {
  const test::TemporaryFolder folder;
  FileCalls calls;
  folder.write("x", "precious");
  test::expect_error(ExitCode::resources, {"cannot create", "EEXIST"},
                     [&] { DurableFile(calls, folder.path("x")); });
  EXPECT_EQ(read_text_file(folder.path("x")), "precious");
}

TEST(DurableFile, DirectoriesAreMadeExchangedAndRemoved) {
  const test::TemporaryFolder folder;
  FileCalls calls;
  make_directory(calls, folder.path("a"));
  make_directory(calls, folder.path("a/inner"));
  folder.write("a/inner/file", "1");
  make_directory(calls, folder.path("b"));
  test::expect_error(ExitCode::resources, {folder.path("b"), "EEXIST"},
                     [&] { make_directory(calls, folder.path("b")); });
  if (exchange_paths(calls, folder.path("a"), folder.path("b"))) {
    EXPECT_TRUE(std::filesystem::exists(folder.path("b/inner/file")));
  }
  sync_directory(calls, folder.path());
  remove_directory(calls, folder.path("a"));
  remove_directory(calls, folder.path("b"));
  remove_directory(calls, folder.path("not there"));
  EXPECT_THAT(folder.names(), IsEmpty());
}

}  // namespace
}  // namespace trireme
