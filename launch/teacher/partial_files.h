// OUT.partial: the shards that are written so far, so that a second start goes on from there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/distill/teacher_files.h"
#include "runtime/io/files/directory_lock.h"

namespace trireme::launch {

/// On rank 0. It has one user at a time.
class PartialFiles {
 public:
  explicit PartialFiles(const std::string& out);

  /// Makes the directory, or goes on with what is there: the shards that are missing. UserError (usage)
  /// naming what differs, and --restart, where that is of other files; for directories of other kinds; and
  /// where OUT is there, or has no directory to be in.
  /// `weights`: what tells the teacher's files from other ones under their name.
  std::vector<int64_t> open(const TeacherDescription& description, const std::string& weights, bool restarts);
  /// All shards are there: OUT appears, whole.
  void publish(const TeacherDescription& description);
  /// Leaves nothing of it.
  void remove();

  const std::string& path() const { return path_; }
  std::string shard_path(int64_t shard) const { return path_ + "/" + shard_name(shard); }

 private:
  void go_on(const nlohmann::ordered_json& state) const;
  std::string state_file() const { return path_ + "/state.json"; }

  std::string out_, path_;
  std::optional<DirectoryLock> lock_;
};

}  // namespace trireme::launch
