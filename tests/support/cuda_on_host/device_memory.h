// Device memory of the host's stand-in for CUDA: closed to everybody but kernels and copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace trireme::cuda_on_host {

class Arena;

/// Each OS thread has device memory of its own, as if it had a device of its own. Pages may be touched only
/// while a DeviceAccess lives: a host that reads or writes a device pointer ends the program with a message,
/// where a GPU's machine would crash. Null when memory runs out.
void* allocate_device_memory(size_t bytes);
/// From now on this thread's device has so much memory.
void limit_device_memory(size_t bytes);
void free_device_memory(void* pointer);
bool is_device_memory(const void* pointer);

/// Pinned memory of the host.
void* allocate_pinned_memory(size_t bytes);
void free_pinned_memory(void* pointer);
bool is_pinned_memory(const void* pointer);

/// What this thread has done that a steady training step does without.
struct Counts {
  int64_t waits = 0;        ///< for a stream or the device, or in a copy from or to memory that is not pinned
  int64_t event_waits = 0;  ///< for an event
  int64_t memory_calls = 0;  ///< that took memory of the device or pinned memory, or gave it back
};
Counts& counts();

/// Lets everybody touch some device memory as long as it lives, alone: kernels and copies on one device
/// exclude each other. May be nested within a thread.
class DeviceAccess {
 public:
  /// This thread's memory.
  DeviceAccess();
  /// The memory that the pointers lie in; those of the host count for nothing.
  explicit DeviceAccess(std::initializer_list<const void*> pointers);
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;

 private:
  void open();
  std::vector<Arena*> arenas_;
};

/// A copy as a device makes it, in the order of its streams: also from and to what the host has given back by
/// then, which the allocator forbids to everybody. `to` and `from` do not overlap.
void copy_like_device(void* to, const void* from, size_t bytes);

struct DeviceBlock {
  std::byte* begin;
  size_t bytes;
};
/// What this thread has allocated.
std::vector<DeviceBlock> device_blocks();

}  // namespace trireme::cuda_on_host
