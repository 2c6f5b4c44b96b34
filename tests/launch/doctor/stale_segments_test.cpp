#include "launch/doctor/stale_segments.h"

#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
namespace fs = std::filesystem;

std::vector<std::string> names(const std::vector<StaleSegment>& segments) {
  std::vector<std::string> found;
  for (const StaleSegment& segment : segments) found.push_back(fs::path(segment.path).filename().string());
  return found;
}

TEST(StaleSegments, OnlyThoseThatNobodyHasOpenOrMapped) {
  const test::TemporaryFolder folder;
  const fs::path shm = folder.path("shm"), proc = folder.path("proc");
  fs::create_directories(shm);
  fs::create_directories(proc / "77" / "fd");
  for (const char* name :
       {"vader_segment.h.0.1.0", "nccl-open", "psm2_shm.mapped", "sem.gone", "somebody-elses"})
    std::ofstream(shm / name) << "12345";
  EXPECT_THAT(names(stale_segments(shm, proc)),
              ElementsAre("nccl-open", "psm2_shm.mapped", "sem.gone", "vader_segment.h.0.1.0"));
  fs::create_symlink(shm / "nccl-open", proc / "77" / "fd" / "3");
  struct stat mapped {};
  ASSERT_EQ(::stat((shm / "psm2_shm.mapped").c_str(), &mapped), 0);
  std::ofstream(proc / "77" / "maps")
      << fmt::format("7f00-7f01 rw-s 00000000 {:02x}:{:02x} {} /dev/shm/psm2_shm.mapped\n",
                     major(mapped.st_dev), minor(mapped.st_dev), mapped.st_ino);
  const auto stale = stale_segments(shm, proc);
  EXPECT_THAT(names(stale), ElementsAre("sem.gone", "vader_segment.h.0.1.0"));
  EXPECT_EQ(stale[0].bytes, 5);
}

TEST(StaleSegments, ThisProcessHoldsItsOwn) {
  const test::TemporaryFolder folder;
  const fs::path file = folder.path("nccl-mine");
  const int fd = ::open(file.c_str(), O_CREAT | O_RDWR, 0600);
  EXPECT_TRUE(stale_segments(folder.path()).empty());
  ::close(fd);
  EXPECT_THAT(names(stale_segments(folder.path())), ElementsAre("nccl-mine"));
}

TEST(StaleSegments, AFolderThatIsNotThere) { EXPECT_TRUE(stale_segments("/no/such/folder").empty()); }

}  // namespace
}  // namespace trireme::launch
