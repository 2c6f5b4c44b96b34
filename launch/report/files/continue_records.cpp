#include "launch/report/files/continue_records.h"

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "launch/report/files/run_event.h"
#include "launch/report/files/tensorboard_event.h"
#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// The step of a line of records; nothing where it is none.
std::optional<int64_t> step_of_line(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) return std::nullopt;
  return json["step"].get<int64_t>();
}

bool is_line_of_attempt(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  return json.is_object() && json.contains("kind") && json["kind"].is_string() &&
         is_of_attempt(json["kind"].get_ref<const std::string&>());
}

bool of_no_attempt(const std::string&) { return false; }

std::string lines_up_to(const std::string& text, int64_t step, bool (*stays)(const std::string&)) {
  std::string kept;
  for (size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string line = text.substr(at, end - at);
    if (const auto found = step_of_line(line); found && (*found <= step || stays(line))) kept += line + "\n";
  }
  return kept;
}

/// The TFRecords of events up to the step, and up to the first record that is not whole.
std::string events_up_to(std::string_view bytes, int64_t step) {
  constexpr size_t kAround = 8 + 4 + 4;  // length, its checksum, that of the event
  std::string kept;
  while (bytes.size() >= kAround) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > bytes.size() - kAround) break;
    const size_t size = kAround + static_cast<size_t>(length);
    if (step_of_event(bytes.substr(12, static_cast<size_t>(length))) <= step) kept += bytes.substr(0, size);
    bytes.remove_prefix(size);
  }
  return kept;
}

void replace(const fs::path& path, const std::string& before, const std::string& after) {
  FileCalls calls;
  if (after != before) replace_file(calls, path.string(), after);
}

}  // namespace

void keep_records_up_to(const fs::path& file, int64_t step) {
  if (!fs::exists(file)) return;
  const std::string text = read_text_file(file.string());
  replace(file, text, lines_up_to(text, step, of_no_attempt));
}

void keep_happenings_up_to(const fs::path& events, int64_t step) {
  if (!fs::exists(events)) return;
  const std::string text = read_text_file(events.string());
  replace(events, text, lines_up_to(text, step, is_line_of_attempt));
}

void keep_events_up_to(const fs::path& directory, int64_t step) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (!entry.path().filename().string().starts_with("events.out.tfevents.")) continue;
    const std::string bytes = read_text_file(entry.path().string());
    replace(entry.path(), bytes, events_up_to(bytes, step));
  }
}

void number_config(const fs::path& directory) {
  const fs::path config = directory / "config.ini";
  std::error_code error;
  if (!fs::exists(config, error)) return;
  int number = 1;
  while (fs::exists(directory / fmt::format("config.{}.ini", number), error)) ++number;
  fs::rename(config, directory / fmt::format("config.{}.ini", number), error);
  if (error) throw_environment("{}: cannot be renamed: {}", config.string(), error.message());
}

}  // namespace trireme::launch
