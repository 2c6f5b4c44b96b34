#include "launch/checkpoint/restarts.h"

#include <charconv>
#include <exception>
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

void write_restarts(const std::string& checkpoints, const Restarts& restarts) {
  FileCalls calls;
  replace_file(calls, note_of(checkpoints),
               fmt::format("{} {} {}\n", text_of_step(restarts.step), restarts.number, restarts.requested));
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
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data() + space + 1, end, restarts.number);
  if (number.ptr != end) std::from_chars(number.ptr + 1, end, restarts.requested);
  if (name.starts_with(kStepPrefix))
    std::from_chars(name.data() + kStepPrefix.size(), name.data() + name.size(), restarts.step);
  const bool is_one =
      restarts.number >= 0 && restarts.requested >= 0 && (name == kNoStep || restarts.step >= 0);
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
  if (newest > restarts.step) restarts = {newest, 0, 0};
  const int64_t both = restarts.number + restarts.requested;
  if (restarts.number >= kMostRestarts || both >= kMostWithRequested) {
    throw_user(ExitCode::no_progress,
               "{}: {} restarts in succession have committed no step after {}: see {}/log.txt for why they "
               "ended; --resume STEP, or without {}, the run starts again",
               run_directory, both, restarts.step < 0 ? "the start" : "step " + std::to_string(restarts.step),
               run_directory, note_of(checkpoints));
  }
  ++restarts.number;
  fs::create_directories(checkpoints);
  write_restarts(checkpoints, restarts);
}

void excuse_restart(const std::string& checkpoints) noexcept {
  try {
    Restarts restarts = read_restarts(checkpoints);
    if (restarts.number == 0) return;
    --restarts.number;
    ++restarts.requested;
    write_restarts(checkpoints, restarts);
  } catch (const std::exception&) {  // it counts then
  }
}

void forget_restarts(const std::string& checkpoints) {
  std::error_code error;
  if (!fs::exists(note_of(checkpoints), error)) return;
  FileCalls calls;
  remove_file(calls, note_of(checkpoints));
}

}  // namespace trireme::launch
