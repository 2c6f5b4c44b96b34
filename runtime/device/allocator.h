// A caching allocator that accounts for every byte by what it is for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "runtime/base/error.h"

namespace trireme {

/// What a piece of memory is for; the banner predicts and the end of a run reports peaks in these terms.
enum class MemoryCategory : uint8_t { weights, gradients, optimizer, activations, buffers };
inline constexpr int kNumMemoryCategories = 5;
std::string_view to_string(MemoryCategory category);

/// A device has no more memory. The message says what was asked for, what is in use by category, and how much
/// lies between.
class OutOfMemory : public EnvironmentError {
 public:
  using EnvironmentError::EnvironmentError;
};

struct MemoryUsage {
  int64_t current = 0;  ///< bytes in use now, as rounded by the allocator
  int64_t peak = 0;     ///< the most bytes in use at one time
};

struct MemoryStats {
  std::array<MemoryUsage, kNumMemoryCategories> by_category;
  MemoryUsage total;     ///< its peak is of the sum, not the sum of the peaks
  int64_t reserved = 0;  ///< bytes taken from the device, in use or not
  int64_t peak_reserved = 0;
  int64_t num_device_allocations = 0;
};

/// Takes memory from a device and gives it back.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// Returns null when the device has not enough memory. Aligned to 256 bytes at least.
  virtual void* allocate(size_t bytes) = 0;
  /// May wait for all work of the device.
  virtual void release(void* pointer, size_t bytes) noexcept = 0;
  /// False while work of the device, or some that is about to be given to it, may wait for another rank,
  /// which may wait for this one: release() might never return then.
  virtual bool is_quiet() { return true; }
  virtual std::string_view name() const = 0;
};

/// Thread-safe. Memory is taken from the device in segments, which are divided into blocks. A request gets
/// the smallest unused block that holds it, and leaves the rest of it unused; unused neighbours become one
/// block again. When the device refuses a segment, those without any block in use are given back, if it is
/// quiet, and the request is tried once more. The device is never asked, nor waited for, under the lock that
/// every owner of a block takes to let go of it.
class Allocator {
 public:
  explicit Allocator(std::unique_ptr<MemorySource> source);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// A block of at least `bytes` bytes, uninitialised; it returns to the cache when the last owner lets go,
  /// which may be after the allocator itself is gone. Throws OutOfMemory.
  std::shared_ptr<std::byte> allocate(size_t bytes, MemoryCategory category);

  /// Calls `work` and keeps the blocks that are handed out meanwhile from all others as long as the result
  /// lives, also those that are given back at once: for what continues using their addresses, as captured
  /// work does. Within `work` they are handed out again. One at a time.
  std::shared_ptr<void> reserve_during(const std::function<void()>& work);

  /// Bytes that a request takes: the next multiple of 256.
  static int64_t block_size(int64_t bytes);

  MemoryStats stats() const;
  /// Sets every peak to what is in use now.
  void reset_peaks();
  /// Gives segments without a block in use back to the device, if it is quiet.
  void trim();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace trireme
