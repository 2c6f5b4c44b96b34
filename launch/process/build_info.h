// Version, compiler and libraries of this program.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace trireme::launch {

struct BuildInfo {
  std::string version;   ///< "0.1.0"
  std::string compiler;  ///< "GNU 12.2.0, Release"
  std::vector<std::pair<std::string, std::string>>
      libraries;  ///< name, version at build time; CUDA and cuDNN say "not built" without
};
BuildInfo build_info();

/// "trireme 0.1.0 (GNU 12.2.0, Release; MPI 3.1, oneDNN 2.6.3, GPU not built, cuDNN not built)".
std::string build_line();

}  // namespace trireme::launch
