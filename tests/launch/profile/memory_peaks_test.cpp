// Peaks of windows and of the whole run.
#include "launch/profile/memory_peaks.h"

#include <gtest/gtest.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {
namespace {

TEST(MemoryPeaks, WindowsBeginAnewAndTheRunKeepsItsOwn) {
  const auto stream = cpu::make_compute_stream();
  const auto world = make_self_communicator();
  Allocator allocator(cpu::make_memory_source());
  const auto held = allocator.allocate(1024, MemoryCategory::weights);
  MemoryPeaks peaks(allocator);
  allocator.allocate(4096, MemoryCategory::activations).reset();
  const auto at = [](MemoryCategory category) { return static_cast<size_t>(category); };
  const auto first = peaks.end_window(*world, *stream);
  EXPECT_EQ(first[at(MemoryCategory::weights)], 1024);
  EXPECT_EQ(first[at(MemoryCategory::activations)], 4096);
  allocator.allocate(2048, MemoryCategory::activations).reset();
  const auto second = peaks.end_window(*world, *stream);
  EXPECT_EQ(second[at(MemoryCategory::weights)], 1024) << "it is still in use";
  EXPECT_EQ(second[at(MemoryCategory::activations)], 2048);
  EXPECT_EQ(second[at(MemoryCategory::optimizer)], 0);
  const MemoryStats whole = peaks.stats();
  EXPECT_EQ(whole.by_category[at(MemoryCategory::activations)].peak, 4096);
  EXPECT_EQ(whole.total.peak, 1024 + 4096);
  EXPECT_EQ(whole.total.current, 1024);
}

}  // namespace
}  // namespace trireme::launch
