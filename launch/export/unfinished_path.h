// A file or directory that appears whole or not at all.
#pragma once

#include <string>

namespace trireme::launch {

/// A name beside `path` to write to. finish() makes it `path`; without that the destructor removes what is
/// there.
class UnfinishedPath {
 public:
  explicit UnfinishedPath(std::string path);
  ~UnfinishedPath();
  UnfinishedPath(const UnfinishedPath&) = delete;
  UnfinishedPath& operator=(const UnfinishedPath&) = delete;

  const std::string& name() const { return name_; }
  /// UserError (usage) or EnvironmentError (resources) with the system's words where it cannot be made.
  void make_directory();
  /// Renames and makes it durable; a file replaces one of that name.
  void finish();

 private:
  std::string path_, name_;
  bool is_finished_ = false;
};

}  // namespace trireme::launch
