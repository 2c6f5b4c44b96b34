// Versions of what lies between this program and its GPUs. Safe to call without CUDA or a driver.
#pragma once

#include <string>

namespace trireme::cuda {

/// CUDA's as 1000 * major + 10 * minor, NCCL's as 10000 * major + 100 * minor + patch; 0: not there.
struct Versions {
  int toolkit = 0;  ///< that the program was compiled with
  int runtime = 0;  ///< libcudart that is loaded
  int driver = 0;   ///< the newest that the driver knows
  int nccl_built = 0;
  int nccl_loaded = 0;
};
Versions versions();

/// "0000:3b:00.0", as in /sys/bus/pci/devices; empty where device `index` is not there.
std::string pci_bus_id(int index);

}  // namespace trireme::cuda
