// Peaks of memory by category: of windows of steps, and of the whole run.
#pragma once

#include <array>

#include "runtime/comm/communicator.h"
#include "runtime/device/allocator.h"
#include "runtime/device/stream.h"

namespace trireme::launch {

/// The only one that resets the peaks of its allocator from here on.
class MemoryPeaks {
 public:
  /// Both begin now. `allocator` outlives it.
  explicit MemoryPeaks(Allocator& allocator);

  /// As Allocator::stats() would be had no window ended.
  MemoryStats stats() const;
  /// Ends a window: its peak in each category, the largest of all ranks of `world`, which all call it.
  std::array<int64_t, kNumMemoryCategories> end_window(Communicator& world, Stream& host_stream);

 private:
  Allocator& allocator_;
  MemoryStats before_;  // peaks of the windows that have ended
};

}  // namespace trireme::launch
