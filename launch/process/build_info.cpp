// The build system sets the TRIREME_ macros for this file alone.
#include "launch/process/build_info.h"

#include <fmt/format.h>

#include "runtime/device/cuda/cuda_device.h"
#include "runtime/ops/attention/attention_by_cudnn.h"

namespace trireme::launch {

BuildInfo build_info() {
  BuildInfo info;
  info.version = TRIREME_VERSION;
  info.compiler = TRIREME_COMPILER;
  const std::string cudnn = ops::cuda::cudnn_version();
  info.libraries = {{"MPI", TRIREME_MPI_VERSION},
                    {"oneDNN", TRIREME_DNNL_VERSION},
                    {"GPU", cuda::build_description()},
                    {"cuDNN", cudnn.empty() ? "not built" : cudnn}};
  return info;
}

std::string build_line() {
  const BuildInfo info = build_info();
  std::string libraries;
  for (const auto& [name, version] : info.libraries) {
    libraries += fmt::format("{}{} {}", libraries.empty() ? "" : ", ", name, version);
  }
  return fmt::format("trireme {} ({}; {})", info.version, info.compiler, libraries);
}

}  // namespace trireme::launch
