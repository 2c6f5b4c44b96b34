#include "launch/checkpoint/restarts.h"

#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "runtime/base/error.h"
#include "runtime/io/files/directory_lock.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

constexpr const char* kNoStep = "none";
constexpr std::string_view kStepPrefix = "step-";

std::string note_of(const std::string& checkpoints) { return checkpoints + "/restarts"; }

std::string text_of_step(int64_t step) { return step < 0 ? kNoStep : checkpoint_name(step); }

/// Of one attempt or more: each opens its log as soon as it has its directory.
bool was_started(const std::string& run_directory) {
  std::error_code error;
  return fs::exists(fs::path(run_directory) / "log.txt", error);
}

}  // namespace

Restarts read_restarts(const std::string& checkpoints) {
  std::error_code error;
  if (!fs::is_regular_file(note_of(checkpoints), error)) return {};
  const std::string text = read_text_file(note_of(checkpoints));
  const size_t space = text.find(' ');
  if (space == std::string::npos) return {};
  Restarts restarts;
  const std::string_view name = std::string_view(text).substr(0, space);
  const std::string_view number = std::string_view(text).substr(space + 1);
  std::from_chars(number.data(), number.data() + number.size(), restarts.number);
  if (name.starts_with(kStepPrefix))
    std::from_chars(name.data() + kStepPrefix.size(), name.data() + name.size(), restarts.step);
  const bool is_one = restarts.number >= 0 && (name == kNoStep || restarts.step >= 0);
  return is_one ? restarts : Restarts{};
}

void count_restart(const std::string& run_directory, const std::string& checkpoints) {
  if (!was_started(run_directory)) return;
  const DirectoryLock alone(run_directory);
  std::vector<int64_t> steps;
  std::error_code error;
  if (fs::is_directory(checkpoints, error)) steps = checkpoint_steps(checkpoints);
  const int64_t newest = steps.empty() ? -1 : steps.front();
  Restarts restarts = read_restarts(checkpoints);
  if (newest > restarts.step) restarts = {newest, 0};
  if (restarts.number >= kMostRestarts) {
    throw_user(ExitCode::no_progress,
               "{}: {} restarts in succession have committed no step after {}: see {}/log.txt for why they "
               "ended; --resume STEP, or without {}, the run starts again",
               run_directory, restarts.number,
               restarts.step < 0 ? "the start" : "step " + std::to_string(restarts.step), run_directory,
               note_of(checkpoints));
  }
  ++restarts.number;
  fs::create_directories(checkpoints);
  FileCalls calls;
  replace_file(calls, note_of(checkpoints),
               fmt::format("{} {}\n", text_of_step(restarts.step), restarts.number));
}

void forget_restarts(const std::string& checkpoints) {
  std::error_code error;
  if (!fs::exists(note_of(checkpoints), error)) return;
  FileCalls calls;
  remove_file(calls, note_of(checkpoints));
}

}  // namespace trireme::launch
