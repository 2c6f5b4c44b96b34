// Why a GPU cannot be used, in words. Nothing here asks a driver, so that all of it is tested without one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// Whether code that CMake built for `architectures` ("80-real,90-real,100") runs on a GPU of that compute
/// capability: machine code ("-real", or no ending) on its own major version from its minor one on, PTX
/// ("-virtual", or no ending) on all newer ones too; with an "a" after the number there alone, with an "f"
/// within the major version. Words like "native" name nothing that could be judged here: true.
bool has_code_for(std::string_view architectures, int major, int minor);

/// What a look for GPUs has brought.
struct GpuSearch {
  int driver_version =
      0;  ///< the newest CUDA that the driver knows, as 1000 * major + 10 * minor; 0: no driver
  int runtime_version = 0;                ///< of the program
  std::string status;                     ///< in the runtime's words; empty when it simply found none
  const char* visible_devices = nullptr;  ///< CUDA_VISIBLE_DEVICES, where set
};
/// Why it has found none, and what would help.
std::string why_no_gpu(const GpuSearch& search);

/// Libraries of NVIDIA's that are there in more than one copy, each with the paths: "libnccl: A and B". One
/// copy would get what belongs to the other. `paths`: of all that is loaded.
std::vector<std::string> duplicate_libraries(const std::vector<std::string>& paths);
/// Paths of the shared libraries of this process.
std::vector<std::string> loaded_libraries();

/// Whether a device's name is that of a part of a GPU (a MIG instance), as NVIDIA's runtime gives it.
bool is_gpu_slice(std::string_view device_name);

}  // namespace trireme
