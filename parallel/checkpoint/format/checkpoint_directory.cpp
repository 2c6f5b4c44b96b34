#include "parallel/checkpoint/format/checkpoint_directory.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <sys/stat.h>

#include "parallel/checkpoint/format/slice_file.h"
#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"

namespace trireme {

namespace {

constexpr std::string_view kPrefix = "step-", kUnfinished = ".tmp", kReplaced = ".replaced";
constexpr uint64_t kMostManifestBytes = uint64_t{4} << 30;

/// The step of "step-00001000"; nothing for other names.
std::optional<int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  int64_t step = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc() || end != digits.data() + digits.size() || checkpoint_name(step) != name)
    return std::nullopt;
  return step;
}

std::optional<int64_t> replaced_step_of(std::string_view name) {
  if (!name.ends_with(kReplaced)) return std::nullopt;
  return step_of(name.substr(0, name.size() - kReplaced.size()));
}

std::vector<std::string> names_in(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator it(directory, error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory)
    throw_environment("cannot list {}: {}", directory, error.message());
  std::ranges::sort(names);
  return names;
}

// A checkpoint that was to be replaced counts again where its successor did not come.
void restore_replaced(FileCalls& calls, const std::string& directory, int64_t step) {
  const std::string path = directory + "/" + checkpoint_name(step),
                    replaced = directory + "/" + replaced_name(step);
  if (std::filesystem::exists(path)) return remove_directory(calls, replaced);
  rename_path(calls, replaced, path);
  sync_directory(calls, directory);
}

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }
std::string unfinished_name(int64_t step) { return checkpoint_name(step) + std::string(kUnfinished); }
std::string replaced_name(int64_t step) { return checkpoint_name(step) + std::string(kReplaced); }

std::vector<int64_t> checkpoint_steps(const std::string& directory) {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(directory)) {
    if (const auto step = step_of(name)) steps.push_back(*step);
  }
  std::ranges::sort(steps, std::ranges::greater());
  return steps;
}

std::vector<int64_t> steps_to_remove(std::vector<int64_t> steps, const Retention& retention) {
  TRIREME_CHECK(retention.keep >= 1 && retention.keep_every >= 0);
  std::ranges::sort(steps);
  steps.resize(static_cast<size_t>(std::max<int64_t>(0, std::ssize(steps) - retention.keep)));
  std::erase_if(steps, [&](int64_t step) {
    return step == retention.best || (retention.keep_every > 0 && step % retention.keep_every == 0);
  });
  return steps;
}

void remove_checkpoint(FileCalls& calls, const std::string& directory, int64_t step) {
  const std::string going = directory + "/" + unfinished_name(step);
  remove_directory(calls, going);
  rename_path(calls, directory + "/" + checkpoint_name(step), going);
  // Before its files go: a power cut must not bring the name back without them.
  sync_directory(calls, directory);
  remove_directory(calls, going);
}

std::string set_aside(FileCalls& calls, const std::string& directory, int64_t step) {
  const std::string path = directory + "/" + checkpoint_name(step), aside = path + ".aside";
  remove_directory(calls, aside);
  rename_path(calls, path, aside);
  sync_directory(calls, directory);
  return aside;
}

void remove_unfinished(FileCalls& calls, const std::string& directory) {
  for (const std::string& name : names_in(directory)) {
    const std::string_view stem =
        std::string_view(name).substr(0, name.size() - std::min(name.size(), kUnfinished.size()));
    if (name.ends_with(kUnfinished) && step_of(stem)) remove_directory(calls, directory + "/" + name);
    if (const auto step = replaced_step_of(name)) restore_replaced(calls, directory, *step);
  }
  for (const char* name : {kLatestName, kResumedName})
    remove_file(calls, fmt::format("{}/{}.new", directory, name));
}

Manifest read_manifest(const std::string& path) {
  const std::string file = path + "/" + kManifestName;
  struct stat status = {};
  if (::stat(file.c_str(), &status) != 0)
    throw_user(ExitCode::checkpoint, "{} is not a checkpoint: cannot read {}: {}", path, file,
               std::strerror(errno));
  if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > kMostManifestBytes)
    throw_user(ExitCode::checkpoint, "{} is not a manifest: it is not a file of at most {} bytes", file,
               kMostManifestBytes);
  Manifest manifest = parse_manifest(read_text_file(file), file);
  for (const StoredFile& stored : manifest.stored.files) {
    const std::string name = path + "/" + stored.name;
    if (::stat(name.c_str(), &status) != 0)
      throw_user(ExitCode::checkpoint, "{} is incomplete: cannot read {}: {}", path, name,
                 std::strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size != stored.bytes)
      throw_user(ExitCode::checkpoint, "{} is incomplete: {} has {} bytes, the manifest says {}", path, name,
                 static_cast<int64_t>(status.st_size), stored.bytes);
  }
  return manifest;
}

std::vector<std::string> find_damage(const std::string& path, bool proof) {
  std::vector<std::string> damage;
  const auto note = [&](auto&& attempt) {
    try {
      attempt();
    } catch (const Error& error) {
      damage.emplace_back(error.what());
    }
  };
  Manifest manifest;
  note([&] { manifest = read_manifest(path); });
  if (!damage.empty()) return damage;
  ProofHash found;
  for (size_t i = 0; i < manifest.stored.files.size(); ++i) {
    note([&] { SliceFile(path, manifest.stored.files[i]).check_head(); });
  }
  std::vector<std::byte> buffer;
  for (const StoredSlice& slice : manifest.stored.slices) {
    note([&] {
      SliceFile file(path, manifest.stored.files[slice.file]);
      file.read_slice(slice, buffer, [&](int64_t begin, std::span<const std::byte> bytes) {
        if (proof) found.add(slice.slice, begin / static_cast<int64_t>(size_of(slice.slice.dtype)), bytes);
        return true;
      });
    });
  }
  if (proof && damage.empty() && found != manifest.proof) {
    damage.push_back(fmt::format("{}: the proof hash of its tensors is {}, the manifest says {}", path,
                                 to_string(found), to_string(manifest.proof)));
  }
  return damage;
}

}  // namespace trireme
