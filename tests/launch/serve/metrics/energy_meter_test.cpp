#include "launch/serve/metrics/energy_meter.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace trireme::launch {

namespace {

class Energy : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    std::ofstream(folder_.path() + "/" + file) << text << "\n";
  }
  void zone(const std::string& zone, const std::string& name, const std::string& microjoules,
            const std::string& range = "262143328850") {
    std::filesystem::create_directories(folder_.path() + "/" + zone);
    write(zone + "/name", name);
    write(zone + "/energy_uj", microjoules);
    write(zone + "/max_energy_range_uj", range);
  }

  test::TemporaryFolder folder_;
};

TEST_F(Energy, PackagesAndMemoryAreSummedOnce) {
  zone("intel-rapl:0", "package-0", "1000");
  zone("intel-rapl:0:0", "core", "500");
  zone("intel-rapl:0:1", "dram", "100");
  zone("intel-rapl:1", "package-1", "7000000");
  zone("intel-rapl:2", "psys", "9000000");
  zone("intel-rapl-mmio:0", "package-0", "1000");
  std::filesystem::create_directories(folder_.path() + "/intel-rapl");
  EnergyMeter meter(folder_.path());
  EXPECT_FALSE(meter.joules());  // nothing has moved so far
  for (const char* every : {"intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"})
    write(std::string(every) + "/energy_uj", "50000000000");
  EXPECT_FALSE(meter.joules());
  write("intel-rapl:0/energy_uj", "2001000");
  write("intel-rapl:0:1/energy_uj", "1000100");
  write("intel-rapl:1/energy_uj", "7500000");
  ASSERT_TRUE(meter.joules());
  EXPECT_DOUBLE_EQ(*meter.joules(), 2 + 1 + 0.5);
}

TEST_F(Energy, CountersWrapAround) {
  zone("intel-rapl:0", "package-0", "900000", "1000000");
  EnergyMeter meter(folder_.path());
  write("intel-rapl:0/energy_uj", "100000");
  EXPECT_DOUBLE_EQ(meter.joules().value(), 0.2);
  write("intel-rapl:0/energy_uj", "50000");
  EXPECT_DOUBLE_EQ(meter.joules().value(), 0.2 + 0.95);
}

TEST_F(Energy, NothingIsSaidWhereTheMachineDoesNotTell) {
  EXPECT_FALSE(EnergyMeter(folder_.path() + "/none").joules());
  EXPECT_FALSE(EnergyMeter(folder_.path()).joules());
  zone("intel-rapl:0", "package-0", "1000");
  zone("intel-rapl:1", "package-1", "1000");
  std::filesystem::remove(folder_.path() + "/intel-rapl:1/energy_uj");  // as one that only root may read
  EnergyMeter meter(folder_.path());
  write("intel-rapl:0/energy_uj", "2000");
  EXPECT_FALSE(meter.joules());
}

TEST_F(Energy, ACounterThatGoesAwayEndsIt) {
  zone("intel-rapl:0", "package-0", "1000");
  EnergyMeter meter(folder_.path());
  write("intel-rapl:0/energy_uj", "2000");
  EXPECT_TRUE(meter.joules());
  write("intel-rapl:0/energy_uj", "no number");
  EXPECT_FALSE(meter.joules());
}

}  // namespace

}  // namespace trireme::launch
