#include "runtime/io/digest/file_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using test::expect_error;
using test::TemporaryFolder;

TEST(FileDigest, EqualContentIsEqualWhereverItLies) {
  const TemporaryFolder folder;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1} << 20, (size_t{1} << 20) + 1, size_t{5000000}}) {
    const std::string content(bytes, 'x');
    EXPECT_EQ(digest_file(folder.write("a", content)), digest_file(folder.write("b", content))) << bytes;
    EXPECT_EQ(digest_file(folder.path("a")).bytes, static_cast<int64_t>(bytes));
  }
}

TEST(FileDigest, AnyByteOfASmallFileCounts) {
  const TemporaryFolder folder;
  const std::string content(70000, 'x');
  const FileDigest whole = digest_file(folder.write("a", content));
  for (const size_t at : {size_t{0}, size_t{16384}, size_t{40001}, size_t{69999}}) {
    std::string other = content;
    other[at] = 'y';
    EXPECT_NE(digest_file(folder.write("b", other)), whole) << at;
  }
  EXPECT_NE(digest_file(folder.write("b", content + "x")), whole);
}

TEST(FileDigest, OfALargeFileHeadTailAndBlocksBetweenCount) {
  const TemporaryFolder folder;
  const std::string content(8 << 20, 'x');
  const FileDigest whole = digest_file(folder.write("a", content));
  for (const size_t at : {size_t{0}, size_t{16383}, content.size() - 16384, content.size() - 1}) {
    std::string other = content;
    other[at] = 'y';
    EXPECT_NE(digest_file(folder.write("b", other)), whole) << at;
  }
  std::string other = content;  // a run longer than the gap between two blocks meets one
  other.replace(3000000, 140000, 140000, 'y');
  EXPECT_NE(digest_file(folder.write("b", other)), whole);
}

TEST(FileDigest, TheOrderOfBlocksCounts) {
  const TemporaryFolder folder;
  const std::string x(2 << 20, 'x'), y(2 << 20, 'y');
  EXPECT_NE(digest_file(folder.write("a", x + y)), digest_file(folder.write("b", y + x)));
}

TEST(FileDigest, WhatIsNoFileIsRefused) {
  const TemporaryFolder folder;
  expect_error(ExitCode::bad_input, {"missing", "No such file"},
               [&] { digest_file(folder.path("missing")); });
  expect_error(ExitCode::bad_input, {"directory"}, [&] { digest_file(folder.path()); });
}

}  // namespace
}  // namespace trireme
