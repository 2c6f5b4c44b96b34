#include "launch/profile/peak_store.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "runtime/io/json/json_file.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

class PeakStoreTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::string path_ = folder_.path("cache/trireme/peaks.json");
};

TEST_F(PeakStoreTest, KeepsTheMostOfEachKey) {
  const PeakStore store(path_);
  EXPECT_FALSE(store.find("a"));
  store.keep("a", 3e11);
  store.keep("b", 1e11);
  store.keep("a", 2e11);
  EXPECT_EQ(store.find("a"), 3e11);
  EXPECT_EQ(PeakStore(path_).find("b"), 1e11);
  store.keep("a", 4e11);
  EXPECT_EQ(PeakStore(path_).find("a"), 4e11);
  EXPECT_EQ(read_json_file(path_).size(), 2u);
}

TEST_F(PeakStoreTest, AFileThatIsNoneIsEmptyAndIsReplaced) {
  fs::create_directories(fs::path(path_).parent_path());
  for (const char* text : {"", "{\"a\": 1", "[1, 2]", "{\"a\": \"fast\"}", "{\"a\": -1}", "{\"a\": 1e999}"}) {
    std::ofstream(path_) << text;
    const PeakStore store(path_);
    EXPECT_FALSE(store.find("a")) << text;
    store.keep("a", 5);
    EXPECT_EQ(store.find("a"), 5) << text;
  }
}

TEST_F(PeakStoreTest, APlaceThatTakesNothingIsNoError) {
  std::ofstream(folder_.path("file")) << "x";
  const PeakStore below_a_file(folder_.path("file/peaks.json")), nowhere("");
  below_a_file.keep("a", 1);
  EXPECT_FALSE(below_a_file.find("a"));
  nowhere.keep("a", 1);
  EXPECT_FALSE(nowhere.find("a"));
  const PeakStore folder(folder_.path());
  folder.keep("a", 1);
  EXPECT_FALSE(folder.find("a"));
  EXPECT_TRUE(fs::is_directory(folder_.path()));
}

}  // namespace
}  // namespace trireme::launch
