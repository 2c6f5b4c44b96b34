#include "launch/preflight/available_memory.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

class AvailableMemoryTest : public testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void machine(int64_t mib) {
    file("proc/meminfo", "MemTotal: 99999999 kB\nMemAvailable: " + std::to_string(mib * 1024) + " kB\n");
  }
  int64_t mib() const { return available_host_memory(root_).bytes >> 20; }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
};

TEST_F(AvailableMemoryTest, OfAMachine) {
  EXPECT_EQ(available_host_memory(root_).bytes, 0);  // not known
  machine(700);
  EXPECT_EQ(mib(), 700);
  EXPECT_EQ(available_host_memory(root_).of, "this machine");
}

TEST_F(AvailableMemoryTest, OfTheTightestControlGroup) {
  machine(7000);
  file("proc/self/cgroup", "0::/jobs/job_7\n");
  file("sys/fs/cgroup/jobs/job_7/memory.max", "max\n");
  file("sys/fs/cgroup/jobs/job_7/memory.current", "1048576\n");
  EXPECT_EQ(mib(), 7000);
  file("sys/fs/cgroup/jobs/memory.max", std::to_string(900 << 20));
  file("sys/fs/cgroup/jobs/memory.current", std::to_string(300 << 20));
  EXPECT_EQ(mib(), 600);
  file("sys/fs/cgroup/jobs/memory.stat", "anon 5\ninactive_file " + std::to_string(100 << 20) + "\n");
  EXPECT_EQ(mib(), 700);  // what caches hold gives way
  EXPECT_EQ(available_host_memory(root_).of, "the control group /jobs");
  file("sys/fs/cgroup/jobs/job_7/memory.max", "1048576\n");
  EXPECT_EQ(available_host_memory(root_).bytes, 1);  // full, which is another thing than not known
}

TEST_F(AvailableMemoryTest, OfControlGroupsOfVersionOne) {
  machine(7000);
  file("proc/self/cgroup", "5:cpu,memory:/slurm\n4:freezer:/\n");
  file("sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", std::to_string(500 << 20));
  file("sys/fs/cgroup/memory/slurm/memory.usage_in_bytes", std::to_string(100 << 20));
  EXPECT_EQ(mib(), 400);
  file("sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "9223372036854771712");  // none
  EXPECT_EQ(mib(), 7000);
}

TEST_F(AvailableMemoryTest, FilesThatMakeNoSense) {
  file("proc/meminfo", "MemAvailable: many\n\n:");
  file("proc/self/cgroup", "\n::\nnonsense\n0::\n");
  EXPECT_EQ(available_host_memory(root_).bytes, 0);
}

}  // namespace
}  // namespace trireme::launch
