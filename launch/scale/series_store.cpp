#include "launch/scale/series_store.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string created(std::string directory) {
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  std::error_code error;
  fs::create_directories(fs::path(directory) / "runs", error);
  if (error) throw_environment("cannot create {}/runs: {}", directory, error.message());
  return directory;
}

std::string shortened(const Json& value) {
  constexpr size_t kMost = 200;
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

/// UserError where the series of the file is another.
void check_same(const std::string& path, const nlohmann::ordered_json& now) {
  const std::string directory = fs::path(path).parent_path().string();
  const Json before = read_json_file(path);
  if (!before.is_object()) throw_bad_input("{} is no object: it is not of trireme scale", path);
  for (const auto& [key, member] : now.items()) {
    const Json value = Json::parse(member.dump());  // without an order of its own
    const auto found = before.find(key);
    if (found != before.end() && *found == value) continue;
    throw_usage(
        "{} holds a series whose {} is {}, not {}: its runs would not compare. Call it with the same "
        "arguments "
        "and program to go on, give another --dir, or remove {}",
        directory, key, found == before.end() ? "not there" : shortened(*found), shortened(value), directory);
  }
}

}  // namespace

SeriesStore::SeriesStore(std::string directory, const nlohmann::ordered_json& identity)
    : directory_(created(std::move(directory))), lock_(directory_) {
  const std::string path = directory_ + "/series.json";
  std::error_code error;
  if (fs::exists(path, error)) {
    check_same(path, identity);
    return;
  }
  FileCalls calls;
  replace_file(calls, path, identity.dump(1) + "\n");
}

std::string run_directory(const std::string& directory, size_t point, int ranks, int repeat) {
  return fmt::format("{}/runs/{:03}-ranks{}-repeat{}", directory, point + 1, ranks, repeat + 1);
}

std::vector<RunOutcome> SeriesStore::outcomes(const std::vector<Point>& points, int64_t warmup) const {
  std::map<std::pair<size_t, int>, RunOutcome> last;
  std::ifstream lines(directory_ + "/ended.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const Json record = Json::parse(line, nullptr, false);
    if (!record.is_object()) continue;  // half a line of a machine that went down
    RunOutcome outcome;
    try {
      outcome.point = record.at("point").get<size_t>();
      outcome.repeat = record.at("repeat").get<int>();
      outcome.code = record.at("code").get<int>();
      outcome.error = record.at("error").get<std::string>();
      outcome.seconds = record.at("seconds").get<double>();
    } catch (const Json::exception&) {
      continue;
    }
    if (outcome.point < points.size()) last[{outcome.point, outcome.repeat}] = std::move(outcome);
  }
  std::vector<RunOutcome> outcomes;
  for (auto& [key, outcome] : last) {
    if (outcome.code == 0) {
      try {
        const int ranks = points[outcome.point].ranks;
        outcome.measured =
            read_run_record(run_directory(directory_, outcome.point, ranks, outcome.repeat), warmup);
      } catch (const UserError&) {
        continue;
      }
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

void SeriesStore::add(const RunOutcome& outcome) const {
  const Json record = {{"point", outcome.point},
                       {"repeat", outcome.repeat},
                       {"code", outcome.code},
                       {"error", outcome.error},
                       {"seconds", outcome.seconds}};
  // After half a line that an earlier process left, this one begins its own.
  const std::string line = "\n" + record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const std::string path = directory_ + "/ended.jsonl";
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  const bool written = file.get() >= 0 &&
                       ::write(file.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
                       ::fsync(file.get()) == 0;
  if (!written) throw_environment("cannot write {}: {}", path, std::strerror(errno));
}

}  // namespace trireme::launch
