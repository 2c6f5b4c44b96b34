// A file that only grows, and whose every failure says where and why.
#pragma once

#include <filesystem>
#include <string_view>

namespace trireme::launch {

class AppendFile {
 public:
  /// Opens or creates. Throws EnvironmentError (resources) with path and the system's words.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// All of `bytes` are with the kernel when it returns. Throws as the constructor does (a full disk, say),
  /// and then the file is as it was: a line or record is there whole or not at all.
  void write(std::string_view bytes);

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace trireme::launch
