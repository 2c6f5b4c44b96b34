#include "parallel/checkpoint/load/slice_reader.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/format/slice_file.h"
#include "runtime/io/digest/xxh3.h"

#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

/// A file of zeros without a head, most of which takes no room, and the slice that it is.
StoredFiles zeros(const test::TemporaryFolder& folder, int64_t bytes) {
  folder.write("zeros", "");
  std::filesystem::resize_file(folder.path("zeros"), static_cast<uintmax_t>(bytes));
  StoredFiles stored;
  stored.files.push_back({"zeros", bytes, 0, xxh3_128("")});
  stored.slices.push_back({whole_slice("w", DType::u8, {bytes}), 0, 0, {}});
  return stored;
}

/// It would read for minutes.
TEST(SliceReader, EndsInTheMiddleOfASliceThatNobodyWants) {
  const test::TemporaryFolder folder;
  const StoredFiles stored = zeros(folder, int64_t{1} << 40);
  SliceReader reader(folder.path(), stored, {0});
  EXPECT_THAT(reader.next(), testing::SizeIs(SliceFile::kPieceBytes));
}

TEST(SliceFile, ReadsNoMoreThanIsWanted) {
  const test::TemporaryFolder folder;
  const StoredFiles stored = zeros(folder, 10 * SliceFile::kPieceBytes);
  const SliceFile file(folder.path(), stored.files[0]);
  std::vector<std::byte> buffer;
  int num_pieces = 0;
  file.read_slice(stored.slices[0], buffer,
                  [&](int64_t, std::span<const std::byte>) { return ++num_pieces < 3; });
  EXPECT_EQ(num_pieces, 3);
}

}  // namespace
}  // namespace trireme
