#include "runtime/device/cpu/cpu_quota.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

class CpuQuotaTest : public testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  double cores() const { return cpu::cpu_quota(root_).cores; }
  std::string group() const { return cpu::cpu_quota(root_).group; }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
};

TEST_F(CpuQuotaTest, NoneWhereNothingSaysSo) {
  EXPECT_EQ(cores(), 0);
  file("proc/self/cgroup", "0::/jobs/job_7\n");
  EXPECT_EQ(cores(), 0);
  file("sys/fs/cgroup/jobs/job_7/cpu.max", "max 100000\n");
  EXPECT_EQ(cores(), 0);
}

TEST_F(CpuQuotaTest, OfTheTightestLevel) {
  file("proc/self/cgroup", "0::/jobs/job_7\n");
  file("sys/fs/cgroup/jobs/job_7/cpu.max", "400000 100000\n");
  EXPECT_EQ(cores(), 4);
  EXPECT_EQ(group(), "/jobs/job_7");
  file("sys/fs/cgroup/jobs/cpu.max", "75000 50000\n");
  EXPECT_EQ(cores(), 1.5);
  EXPECT_EQ(group(), "/jobs");
  file("sys/fs/cgroup/cpu.max", "50000 100000\n");  // of a container, which sees its group as the root
  EXPECT_EQ(cores(), 0.5);
  EXPECT_EQ(group(), "/");
}

TEST_F(CpuQuotaTest, OfVersionOne) {
  file("proc/self/cgroup", "9:memory:/other\n4:cpu,cpuacct:/slurm/job\n0::/\n");
  file("sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_quota_us", "-1\n");
  file("sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(), 0);
  file("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "300000\n");
  file("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(), 3);
  EXPECT_EQ(group(), "/slurm");
  file("sys/fs/cgroup/cpu/slurm/job/cpu.cfs_quota_us", "200000\n");  // the other name of that folder
  file("sys/fs/cgroup/cpu/slurm/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(), 2);
}

TEST_F(CpuQuotaTest, OtherControllersAreNoProcessorTime) {
  file("proc/self/cgroup", "3:cpuset:/a\n2:cpuacct:/a\n");
  for (const char* controller : {"cpuset", "cpuacct", "cpu"}) {
    file(std::string("sys/fs/cgroup/") + controller + "/a/cpu.cfs_quota_us", "100000\n");
    file(std::string("sys/fs/cgroup/") + controller + "/a/cpu.cfs_period_us", "100000\n");
  }
  EXPECT_EQ(cores(), 0);
}

}  // namespace
}  // namespace trireme
