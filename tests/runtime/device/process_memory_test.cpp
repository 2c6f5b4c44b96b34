#include "runtime/device/cpu/process_memory.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "runtime/io/files/file.h"
#include "tests/support/temporary_folder.h"

namespace trireme::cpu {
namespace {

constexpr size_t kSize = size_t{4} << 20;

/// A file's pages in memory, its own copies of the first ones changed.
class MappedLetters {
 public:
  explicit MappedLetters(const std::string& path) {
    const FileDescriptor file = open_for_reading(path);
    bytes_ = static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0));
  }
  ~MappedLetters() { munmap(bytes_, kSize); }
  MappedLetters(const MappedLetters&) = delete;
  MappedLetters& operator=(const MappedLetters&) = delete;

  void change_first(char c) { bytes_[0] = c; }
  bool become_read_only() { return mprotect(bytes_, kSize, PROT_READ) == 0; }
  size_t count(char c) const { return static_cast<size_t>(std::count(bytes_, bytes_ + kSize, c)); }

 private:
  char* bytes_;
};

TEST(ProcessMemory, GivesBackPagesOfFilesThatAreAsTheyWere) {
  const test::TemporaryFolder folder;
  folder.write("letters", std::string(kSize, 'a'));
  MappedLetters same(folder.path("letters")), changed(folder.path("letters"));
  changed.change_first('b');
  ASSERT_TRUE(same.become_read_only() && changed.become_read_only());
  EXPECT_EQ(same.count('a'), kSize);
  EXPECT_EQ(changed.count('a'), kSize - 1);
  const ProcessMemory before = process_memory();
  if (before.resident == 0) GTEST_SKIP() << "no /proc";
  return_unused_memory();
  const ProcessMemory after = process_memory();
  EXPECT_LT(after.resident, before.resident - static_cast<int64_t>(kSize * 3 / 4));
  EXPECT_GE(after.peak, before.resident - (int64_t{1} << 20));  // the kernel counts in batches
  EXPECT_EQ(same.count('a'), kSize) << "it comes from the file again";
  EXPECT_EQ(changed.count('b'), 1u) << "what is no file's stays";
}

}  // namespace
}  // namespace trireme::cpu
