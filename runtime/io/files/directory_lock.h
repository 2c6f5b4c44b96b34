// One user of a directory at a time, over processes and, where the file system passes locks on, over hosts.
#pragma once

#include <string>

#include "runtime/io/files/file.h"

namespace trireme {

/// Holds the directory as long as it lives. The lock is the kernel's, so it ends with the process however
/// that ends; children that run another program do not inherit it. The file that carries it stays behind.
class DirectoryLock {
 public:
  /// Takes the lock "DIRECTORY/.lock" and writes host, process and time into it. UserError (usage) that says
  /// which of these the holder is when another has it; EnvironmentError when the directory cannot be locked.
  explicit DirectoryLock(const std::string& directory);

 private:
  FileDescriptor file_;
};

}  // namespace trireme
