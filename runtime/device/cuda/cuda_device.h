// NVIDIA GPUs as devices. Every function is safe to call in a program built without CUDA or on a machine
// without a driver.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/device/allocator.h"
#include "runtime/device/stream.h"

namespace trireme::cuda {

/// True when the program was built with the CUDA toolkit.
bool is_built();
/// "CUDA 13.0, NCCL 2.28.9", or "not built".
std::string build_description();
/// Visible devices; 0 without a driver.
int num_devices();
/// Why num_devices() is 0, in the driver's words; empty when a device is there.
std::string why_no_device();

struct DeviceInfo {
  std::string name;                  ///< "NVIDIA H100 80GB HBM3"
  std::string capability;            ///< "9.0"
  int64_t bytes = 0;                 ///< of its memory
  std::array<std::byte, 16> uuid{};  ///< of no other device (or part of one) in the world
  bool is_slice = false;  ///< a part of a GPU (a MIG instance), which reaches no other part by itself
};
/// This and the next four throw EnvironmentError when device `index` is not there.
DeviceInfo device_info(int index);
std::unique_ptr<Stream> make_compute_stream(int index);
/// Its kernels come before those of compute streams that wait for room on the device.
std::unique_ptr<Stream> make_communication_stream(int index);
std::unique_ptr<MemorySource> make_memory_source(int index);
/// Memory of the host that the device copies from and to at full speed, beside other work.
std::unique_ptr<MemorySource> make_pinned_memory_source(int index);
/// While the result lives the device is not quiet (MemorySource::is_quiet): something is about to be given to
/// a communication stream of it.
std::shared_ptr<void> announce_communication(int index);

/// Copies between the host and device `index`, in either direction, after all work submitted to it, and
/// waits. For what a steady step does not do: set-up, checks, results read late.
void copy_and_wait(int index, void* to, const void* from, size_t bytes);

}  // namespace trireme::cuda
