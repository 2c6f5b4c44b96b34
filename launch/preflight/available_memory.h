// Memory available to a run on this host or GPU.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "runtime/device/device.h"

namespace trireme::launch {

struct AvailableMemory {
  int64_t bytes = 0;  ///< 0: not known
  std::string of;     ///< "this machine", "the control group /job_7", "the device"
};

/// Of the host: what the kernel says can be had without swapping, or what is left below the tightest memory
/// limit of the control groups (versions 1 and 2) that this process is in. `root` has proc/ and sys/.
AvailableMemory available_host_memory(const std::filesystem::path& root = "/");

/// Of the device that a rank computes on: the host's, or a GPU's whole memory.
AvailableMemory available_memory(Device device);

}  // namespace trireme::launch
