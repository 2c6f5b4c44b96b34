#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/file.h"
#include "runtime/io/files/mapped_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using test::expect_error;
using test::TemporaryFolder;

TEST(MappedFile, ShowsTheBytes) {
  const TemporaryFolder folder;
  const std::string contents("a\0b\xff", 4);
  const MappedFile file(folder.write("f", contents));
  EXPECT_EQ(file.size(), 4u);
  EXPECT_EQ(file.text(), contents);
}

TEST(MappedFile, EmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  const MappedFile file(folder.write("empty", ""));
  EXPECT_TRUE(file.bytes().empty());
}

TEST(MappedFile, MovesItsMap) {
  const TemporaryFolder folder;
  MappedFile a(folder.write("a", "one")), b(folder.write("b", "two"));
  a = std::move(b);
  EXPECT_EQ(a.text(), "two");
  const MappedFile c(std::move(a));
  EXPECT_EQ(c.text(), "two");
  EXPECT_EQ(c.path(), folder.path("b"));
}

TEST(MappedFile, NamesThePathAndTheReason) {
  const TemporaryFolder folder;
  const auto missing = folder.path("missing");
  expect_error(ExitCode::bad_input, {missing, "No such file"}, [&] { MappedFile{missing}; });
  expect_error(ExitCode::bad_input, {folder.path(), "is a directory"}, [&] { MappedFile{folder.path()}; });
  expect_error(ExitCode::bad_input, {"/dev/null", "not a regular file"}, [] { MappedFile{"/dev/null"}; });
  expect_error(ExitCode::bad_input, {"Not a directory"}, [&] { MappedFile{folder.write("f", "x") + "/y"}; });
}

// A process of its own maps the file, cuts it, and reads.
int read_behind(const TemporaryFolder& folder, const char* name, off_t left) {
  const std::string path = folder.write(name, std::string(3 << 16, 'x'));
  MappedFile first(path);
  const MappedFile file(std::move(first));
  if (left < 0) ::unlink(path.c_str());
  if (::truncate(left < 0 ? folder.write("other", "y").c_str() : path.c_str(), std::max<off_t>(left, 0)) != 0)
    return 99;
  return file.text()[2 << 16] == 'x' ? 0 : 98;
}

TEST(MappedFile, AFileThatBecomesShorterIsNamed) {
  const TemporaryFolder folder;
  EXPECT_EXIT(std::exit(read_behind(folder, "cut", 0)), testing::ExitedWithCode(3),
              "trireme: error: .*/cut: byte 131072 .* had 196608 bytes .* has 0 now");
  EXPECT_EXIT(std::exit(read_behind(folder, "half", 70000)), testing::ExitedWithCode(3),
              "/half: .* has 70000 now");
  // What is deleted, but not cut, can still be read.
  EXPECT_EXIT(std::exit(read_behind(folder, "deleted", -1)), testing::ExitedWithCode(0), "");
}

TEST(MappedFile, AnotherBusErrorIsPassedOn) {
  const TemporaryFolder folder;
  const auto end = [&] {
    const MappedFile file(folder.write("f", "x"));
    ::raise(SIGBUS);
    ::raise(SIGBUS);  // a raised signal does not come again by itself
  };
  EXPECT_DEATH(end(), "");  // by the signal, or by the sanitizer that looks after it
}

TEST(ReadTextFile, ReadsWholeFiles) {
  const TemporaryFolder folder;
  for (const size_t size : {0u, 1u, 65535u, 65536u, 65537u, 300000u}) {
    const std::string contents(size, 'x');
    EXPECT_EQ(read_text_file(folder.write("f", contents)), contents);
  }
  expect_error(ExitCode::bad_input, {"missing", "No such file"},
               [&] { read_text_file(folder.path("missing")); });
  expect_error(ExitCode::bad_input, {"Is a directory"}, [&] { read_text_file(folder.path()); });
}

TEST(AtomicFileWriter, AppearsWithCommitOnly) {
  const TemporaryFolder folder;
  const auto path = folder.write("f", "old");
  {
    AtomicFileWriter abandoned(path);
    abandoned.write("half");
  }
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_THAT(folder.names(), testing::ElementsAre("f"));
  AtomicFileWriter writer(path);
  writer.write("new ");
  EXPECT_EQ(read_text_file(path), "old");
  writer.write("contents");
  writer.rewrite(0, std::as_bytes(std::span("NEW", 3)));
  writer.commit();
  EXPECT_EQ(read_text_file(path), "NEW contents");
  EXPECT_THAT(folder.names(), testing::ElementsAre("f"));
}

TEST(AtomicFileWriter, WritesMoreThanItsBuffer) {
  const TemporaryFolder folder;
  const std::string piece(700001, 'p');
  AtomicFileWriter writer(folder.path("f"));
  for (int i = 0; i < 5; ++i) writer.write(piece);
  writer.commit();
  EXPECT_EQ(read_text_file(folder.path("f")).size(), 5 * piece.size());
}

TEST(AtomicFileWriter, TwoWritersOfOnePathDoNotMix) {
  const TemporaryFolder folder;
  AtomicFileWriter a(folder.path("f")), b(folder.path("f"));
  a.write("aaaa");
  b.write("bb");
  a.commit();
  b.commit();
  EXPECT_EQ(read_text_file(folder.path("f")), "bb");
}

TEST(AtomicFileWriter, RefusesWhatItCannotReplace) {
  const TemporaryFolder folder;
  const auto in_no_folder = folder.path("none/f");
  expect_error(ExitCode::usage, {in_no_folder, "No such file"},
               [&] { write_file_atomically(in_no_folder, "x"); });
  expect_error(ExitCode::usage, {folder.path(), "not a regular file"},
               [&] { write_file_atomically(folder.path(), "x"); });
  expect_error(ExitCode::usage, {"/dev/null"}, [] { write_file_atomically("/dev/null", "x"); });
  struct stat status;
  ASSERT_EQ(::stat("/dev/null", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
}

// A limit on file sizes makes write() fail as a full disk does.
TEST(AtomicFileWriter, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  const auto path = folder.write("f", "old");
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error(ExitCode::resources, {path, std::strerror(EFBIG)},
               [&] { write_file_atomically(path, std::string(10000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_THAT(folder.names(), testing::ElementsAre("f"));
}

}  // namespace
}  // namespace trireme
