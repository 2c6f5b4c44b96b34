#include "launch/profile/memory_peaks.h"

#include <algorithm>

#include "runtime/tensor/tensor.h"

namespace trireme::launch {

MemoryPeaks::MemoryPeaks(Allocator& allocator) : allocator_(allocator) { allocator_.reset_peaks(); }

MemoryStats MemoryPeaks::stats() const {
  MemoryStats now = allocator_.stats();
  for (size_t i = 0; i < kNumMemoryCategories; ++i)
    now.by_category[i].peak = std::max(now.by_category[i].peak, before_.by_category[i].peak);
  now.total.peak = std::max(now.total.peak, before_.total.peak);
  now.peak_reserved = std::max(now.peak_reserved, before_.peak_reserved);
  return now;
}

std::array<int64_t, kNumMemoryCategories> MemoryPeaks::end_window(Communicator& world, Stream& host_stream) {
  before_ = stats();
  std::array<int64_t, kNumMemoryCategories> peaks{};
  const MemoryStats window = allocator_.stats();
  for (size_t i = 0; i < kNumMemoryCategories; ++i) peaks[i] = window.by_category[i].peak;
  allocator_.reset_peaks();
  world.all_reduce(host_stream, Tensor::borrow(peaks.data(), {kNumMemoryCategories}, DType::i64),
                   ReduceOp::max);
  return peaks;
}

}  // namespace trireme::launch
