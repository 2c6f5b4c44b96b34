// Where saves fail without a fault in any call.
#pragma once

#include <climits>
#include <string>

#include "tests/support/temporary_folder.h"

namespace trireme::test {

/// A path in the folder so long that a directory for checkpoints can be made there, while the files of a
/// checkpoint have names that the system refuses (ENAMETOOLONG).
inline std::string directory_of_too_long_names(const TemporaryFolder& folder) {
  constexpr size_t kLength = PATH_MAX - 34, kMostOfAName = 200;
  std::string path = folder.path("c");
  while (path.size() < kLength) {
    const size_t left = kLength - path.size();
    // No slash comes last.
    path += '/' + std::string(left > kMostOfAName + 2 ? kMostOfAName : left - 1, 'c');
  }
  std::filesystem::create_directories(path);
  return path;
}

}  // namespace trireme::test
