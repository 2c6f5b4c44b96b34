#include "runtime/device/allocator.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

/// A device of `limit` bytes.
struct Counts {
  size_t limit = SIZE_MAX, taken = 0;
  int num_taken = 0, num_released = 0;
  bool is_quiet = true;
  std::function<void()> while_releasing = [] {};
};

class LimitedMemory final : public MemorySource {
 public:
  explicit LimitedMemory(Counts& counts) : counts_(counts) {}
  void* allocate(size_t bytes) override {
    if (bytes > counts_.limit - counts_.taken) return nullptr;
    counts_.taken += bytes;
    ++counts_.num_taken;
    return std::aligned_alloc(256, bytes);
  }
  void release(void* pointer, size_t bytes) noexcept override {
    counts_.while_releasing();
    counts_.taken -= bytes;
    ++counts_.num_released;
    std::free(pointer);
  }
  bool is_quiet() override { return counts_.is_quiet; }
  std::string_view name() const override { return "a small device"; }

 private:
  Counts& counts_;
};

struct Device {
  Counts counts;
  Allocator allocator{std::make_unique<LimitedMemory>(counts)};

  std::shared_ptr<std::byte> take(size_t bytes) {
    return allocator.allocate(bytes, MemoryCategory::activations);
  }
};

TEST(Allocator, CountsWhatWasAskedForInSteps) {
  EXPECT_EQ(Allocator::block_size(0), 256);
  EXPECT_EQ(Allocator::block_size(1), 256);
  EXPECT_EQ(Allocator::block_size(256), 256);
  EXPECT_EQ(Allocator::block_size(257), 512);
  EXPECT_EQ(Allocator::block_size((int64_t{1} << 40) + 1), (int64_t{1} << 40) + 256)
      << "nothing large is rounded";
  Device device;
  const auto a = device.take(1000), b = device.take(3 * kMiB);
  EXPECT_EQ(device.allocator.stats().total.current, static_cast<int64_t>(1024 + 3 * kMiB));
}

TEST(Allocator, NeighboursBecomeOneBlockAgain) {
  Device device;
  std::vector<std::shared_ptr<std::byte>> parts;
  for (int i = 0; i < 8; ++i) parts.push_back(device.take(4 * kMiB));
  const int num_taken = device.counts.num_taken;
  std::ranges::shuffle(parts, std::mt19937(1));
  parts.clear();
  const auto whole = device.take(32 * kMiB);
  EXPECT_EQ(device.counts.num_taken, num_taken);
}

TEST(Allocator, WhatIsLeftOfABlockServesOthers) {
  Device device;
  { const auto large = device.take(64 * kMiB); }
  const int num_taken = device.counts.num_taken;
  const auto a = device.take(40 * kMiB), b = device.take(24 * kMiB);
  EXPECT_EQ(device.counts.num_taken, num_taken);
  EXPECT_EQ(b.get(), a.get() + 40 * kMiB);
}

TEST(Allocator, SmallBlocksDivideNoLargeOne) {
  Device device;
  std::vector<std::shared_ptr<std::byte>> small;
  for (int i = 0; i < 100; ++i) {
    { const auto large = device.take(100 * kMiB); }
    small.push_back(device.take(1000));
  }
  EXPECT_EQ(device.counts.taken, 102 * kMiB);
}

TEST(Allocator, GivesUnusedSegmentsBackWhereTheDeviceRefuses) {
  Device device;
  device.counts.limit = 100 * kMiB;
  { const auto a = device.take(60 * kMiB); }
  const auto b = device.take(80 * kMiB);
  EXPECT_EQ(device.counts.num_released, 1);
  expect_error(ExitCode::resources, {"a small device", "30 MiB", "80 MiB in use", "activations 80 MiB"},
               [&] { (void)device.take(30 * kMiB); });
}

// Giving back would wait for the device, which waits for another rank, which waits for this one.
TEST(Allocator, GivesNothingBackWhileTheDeviceWaitsForOthers) {
  Device device;
  device.counts.limit = 100 * kMiB;
  { const auto a = device.take(60 * kMiB); }
  device.counts.is_quiet = false;
  EXPECT_THROW((void)device.take(80 * kMiB), EnvironmentError);
  device.allocator.trim();
  EXPECT_EQ(device.counts.num_released, 0);
  device.counts.is_quiet = true;
  EXPECT_NO_THROW((void)device.take(80 * kMiB));
}

// Another thread can let go of its memory, and take some, while the device is waited for.
TEST(Allocator, TheDeviceIsNotWaitedForUnderTheLock) {
  Device device;
  device.counts.limit = 100 * kMiB;
  auto mine = device.take(10 * kMiB);
  { const auto a = device.take(60 * kMiB); }
  bool went_on = false;
  device.counts.while_releasing = [&] {
    std::thread([&] {
      mine.reset();
      mine = device.take(10 * kMiB);
      went_on = true;
    }).join();
  };
  const auto b = device.take(65 * kMiB);
  device.counts.while_releasing = [] {};
  EXPECT_TRUE(went_on);
}

TEST(Allocator, WhatIsKeptForSomebodyIsHandedOutWithinAlone) {
  Device device;
  { const auto before = device.take(64 * kMiB); }
  std::byte* kept = nullptr;
  auto handle = device.allocator.reserve_during([&] {
    kept = device.take(20 * kMiB).get();
    EXPECT_EQ(device.take(20 * kMiB).get(), kept) << "within, it is handed out again";
  });
  const auto overlaps = [&](const std::byte* block, size_t size) {
    return block < kept + 20 * kMiB && kept < block + size;
  };
  std::vector<std::shared_ptr<std::byte>> others;
  for (int i = 0; i < 10; ++i) {
    others.push_back(device.take(10 * kMiB));
    EXPECT_FALSE(overlaps(others.back().get(), 10 * kMiB));
  }
  others.clear();
  {  // what others have given back beside it is not joined with it, and theirs
    const int num_taken = device.counts.num_taken;
    const auto rest = device.take(44 * kMiB);
    EXPECT_EQ(device.counts.num_taken, num_taken);
    EXPECT_FALSE(overlaps(rest.get(), 44 * kMiB));
  }
  handle.reset();
  const int num_taken = device.counts.num_taken;
  const auto whole = device.take(64 * kMiB);
  EXPECT_EQ(device.counts.num_taken, num_taken) << "afterwards it is everybody's";
}

/// Blocks never overlap, all is given back, and what is reserved stays within reason.
TEST(Allocator, ServesAnyOrder) {
  std::mt19937 random(static_cast<uint32_t>(test_seed()));
  for (int round = 0; round < (whole_tier() ? 200 : 20); ++round) {
    Device device;
    std::map<std::byte*, std::pair<size_t, std::shared_ptr<std::byte>>> blocks;
    for (int i = 0; i < 500; ++i) {
      if (blocks.size() < 5 || (blocks.size() < 40 && random() % 2 == 0)) {
        const size_t size = random() % (random() % 2 == 0 ? 5000 : 4 * kMiB);
        auto block = device.take(size);
        const auto after = blocks.lower_bound(block.get());
        if (after != blocks.end()) {
          ASSERT_LE(block.get() + size, after->first);
        }
        if (after != blocks.begin()) {
          const auto before = std::prev(after);
          ASSERT_LE(before->first + before->second.first, block.get());
        }
        std::byte* begin = block.get();
        blocks[begin] = {size, std::move(block)};
      } else {
        blocks.erase(std::next(blocks.begin(), static_cast<int64_t>(random() % blocks.size())));
      }
    }
    blocks.clear();
    EXPECT_EQ(device.allocator.stats().total.current, 0);
    device.allocator.trim();
    EXPECT_EQ(device.counts.taken, 0u);
    EXPECT_EQ(device.allocator.stats().reserved, 0);
  }
}

}  // namespace
}  // namespace trireme::test
