// State of ranks in memory, as a training holds it, and time: what the benchmarks of checkpoints have in
// common.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/slice_source.h"
#include "runtime/device/cpu/cpu_device.h"

#include "tests/support/state_of_ranks.h"

namespace trireme {

inline double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Of this thread's processor: other programs do not count.
inline double processor_seconds_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec time = {};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double begin = now();
  work();
  return now() - begin;
}

/// Of this process, all threads.
inline double processor_seconds_of_all(const std::function<void()>& work) {
  const auto now = [] {
    timespec time = {};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double begin = now();
  work();
  return now() - begin;
}

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// So many MiB of fp32.
inline std::vector<test::LogicalTensor> large_tensors(int64_t mib) {
  std::vector<test::LogicalTensor> tensors;
  for (int64_t i = 0; i < mib / 4; ++i)
    tensors.push_back({fmt::format("layers.{}.weight", i), DType::f32, {1009, 1039}});
  return tensors;
}

/// Slices of a rank in memory, as a training holds them: one buffer, of large pages.
class HeldSlices {
 public:
  HeldSlices(std::vector<Slice> slices, unsigned seed) : slices_(std::move(slices)) {
    std::mt19937 random(seed);
    size_t bytes = 0;
    for (const Slice& slice : slices_) {
      begin_.push_back(bytes);
      bytes += static_cast<size_t>(slice.bytes());
    }
    std::shared_ptr<MemorySource> source = cpu::make_memory_source();
    memory_ = {static_cast<std::byte*>(source->allocate(bytes)),
               [source, bytes](std::byte* pointer) { source->release(pointer, bytes); }};
    for (size_t at = 0; at < bytes; at += sizeof(uint32_t)) {
      const auto value = static_cast<uint32_t>(random());
      std::memcpy(memory_.get() + at, &value, sizeof value);
    }
  }
  std::vector<SliceSource> sources() const {
    std::vector<SliceSource> sources;
    for (size_t i = 0; i < slices_.size(); ++i) {
      const std::byte* const memory = memory_.get() + begin_[i];
      sources.push_back({slices_[i],
                         [memory](Stream& stream, int64_t begin, std::span<std::byte> to) {
                           stream.copy(to.data(), memory + begin, to.size());
                         },
                         memory});
    }
    return sources;
  }
  std::vector<SliceTarget> targets() {
    std::vector<SliceTarget> targets;
    for (size_t i = 0; i < slices_.size(); ++i) {
      const std::span<std::byte> memory(memory_.get() + begin_[i], static_cast<size_t>(slices_[i].bytes()));
      targets.push_back({slices_[i], into_memory(slices_[i].box, slices_[i].dtype, memory), memory.data()});
    }
    return targets;
  }

 private:
  std::vector<Slice> slices_;
  std::vector<size_t> begin_;
  std::shared_ptr<std::byte> memory_;
};

inline std::vector<HeldSlices> held_by(const std::vector<std::vector<Slice>>& slices) {
  std::vector<HeldSlices> held;
  for (const auto& of_rank : slices) held.emplace_back(of_rank, static_cast<unsigned>(held.size()));
  return held;
}

}  // namespace trireme
