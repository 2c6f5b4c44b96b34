// State of ranks in memory, as a training holds it, and time: what the benchmarks of checkpoints have in
// common.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/slice_source.h"

#include "tests/support/state_of_ranks.h"

namespace trireme {

inline double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
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

/// Slices of a rank in memory, as a training holds them.
class HeldSlices {
 public:
  HeldSlices(std::vector<Slice> slices, unsigned seed) : slices_(std::move(slices)) {
    std::mt19937 random(seed);
    for (const Slice& slice : slices_) {
      auto& values = memory_.emplace_back(static_cast<size_t>(slice.bytes()) / sizeof(uint32_t));
      for (uint32_t& value : values) value = static_cast<uint32_t>(random());
    }
  }
  std::vector<SliceSource> sources() const {
    std::vector<SliceSource> sources;
    for (size_t i = 0; i < slices_.size(); ++i) {
      const auto* memory = reinterpret_cast<const std::byte*>(memory_[i].data());
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
      const auto memory = std::as_writable_bytes(std::span(memory_[i]));
      targets.push_back({slices_[i], into_memory(slices_[i].box, slices_[i].dtype, memory)});
    }
    return targets;
  }

 private:
  std::vector<Slice> slices_;
  std::vector<std::vector<uint32_t>> memory_;
};

inline std::vector<HeldSlices> held_by(const std::vector<std::vector<Slice>>& slices) {
  std::vector<HeldSlices> held;
  for (const auto& of_rank : slices) held.emplace_back(of_rank, static_cast<unsigned>(held.size()));
  return held;
}

}  // namespace trireme
