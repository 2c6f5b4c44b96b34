#include "launch/export/unfinished_path.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace fs = std::filesystem;

UnfinishedPath::UnfinishedPath(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
  name_ = fmt::format("{}.unfinished-{}", path_, ::getpid());
}

UnfinishedPath::~UnfinishedPath() {
  std::error_code ignored;
  if (!is_finished_) fs::remove_all(name_, ignored);
}

void UnfinishedPath::make_directory() {
  std::error_code error;
  fs::create_directory(name_, error);
  if (!error) return;
  if (error == std::errc::no_such_file_or_directory || error == std::errc::permission_denied)
    throw_usage("cannot create {}: {}", path_, error.message());
  throw_environment("cannot create {}: {}", path_, error.message());
}

void UnfinishedPath::finish() {
  FileCalls calls;
  std::error_code ignored;
  if (fs::is_directory(name_, ignored)) {
    sync_directory(calls, name_);
    fs::remove(path_, ignored);  // an empty directory
  }
  rename_path(calls, name_, path_);
  is_finished_ = true;
  const fs::path parent = fs::path(path_).parent_path();
  sync_directory(calls, parent.empty() ? "." : parent.string());
}

}  // namespace trireme::launch
