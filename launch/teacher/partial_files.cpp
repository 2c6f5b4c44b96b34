#include "launch/teacher/partial_files.h"

#include <filesystem>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::string text_of(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

PartialFiles::PartialFiles(const std::string& out) : out_(out) {
  while (out_.size() > 1 && out_.ends_with('/')) out_.pop_back();
  path_ = out_ + ".partial";
}

std::vector<int64_t> PartialFiles::open(const TeacherDescription& description, const std::string& weights,
                                        bool restarts) {
  std::error_code error;
  if (fs::exists(out_, error)) throw_usage("--out {} is there already: name a directory that is not", out_);
  const fs::path parent = fs::absolute(out_).parent_path();
  if (!fs::is_directory(parent, error))
    throw_usage("--out {}: there is no directory {}", out_, parent.string());
  const bool is_there = fs::exists(path_, error);
  if (is_there && !fs::exists(state_file(), error) && !fs::exists(path_ + "/.lock", error))
    throw_usage(
        "{} is there, and is not what an interrupted trireme teacher leaves: remove it, or name another "
        "--out",
        path_);
  if (!is_there && !fs::create_directory(path_, error))
    throw_usage("cannot create {}: {}", path_, error.message());
  lock_.emplace(path_);
  if (restarts) {
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().filename() != ".lock") fs::remove_all(entry.path());
    }
  }
  nlohmann::ordered_json state = json_of(description);
  state["weights"] = weights;
  if (fs::exists(state_file(), error))
    go_on(state);
  else
    write_file_atomically(state_file(), text_of(state) + "\n");
  std::vector<int64_t> missing;
  for (int64_t shard = 0; shard < description.num_shards(); ++shard) {
    if (!find_shard(description, shard, shard_path(shard))) missing.push_back(shard);
  }
  return missing;
}

void PartialFiles::go_on(const nlohmann::ordered_json& state) const {
  const nlohmann::json before = read_json_file(state_file());
  if (!before.is_object()) throw_bad_input("{} is no object: --restart begins anew", state_file());
  const nlohmann::json now = nlohmann::json::parse(text_of(state));
  std::vector<std::string> changed;
  for (const auto& [key, value] : now.items()) {
    const nlohmann::json was = before.value(key, nlohmann::json());
    if (was != value) changed.push_back(fmt::format("{} was {} and is {}", key, was.dump(), value.dump()));
  }
  if (!changed.empty())
    throw_usage("{} has an attempt with other arguments: {}; --restart begins anew", path_,
                fmt::join(changed, "; "));
}

void PartialFiles::publish(const TeacherDescription& description) {
  std::vector<ShardSeal> seals;
  for (int64_t shard = 0; shard < description.num_shards(); ++shard) {
    const std::optional<ShardSeal> seal = find_shard(description, shard, shard_path(shard));
    if (!seal) throw_environment("{} is no longer as it was written", shard_path(shard));
    seals.push_back(*seal);
  }
  write_teacher_index(description, seals, path_);
  FileCalls calls;
  remove_file(calls, state_file());
  lock_.reset();
  remove_file(calls, path_ + "/.lock");
  sync_directory(calls, path_);
  rename_path(calls, path_, out_);
  sync_directory(calls, fs::absolute(out_).parent_path().string());
}

void PartialFiles::remove() {
  lock_.reset();
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace trireme::launch
