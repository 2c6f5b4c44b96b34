#include "launch/run_report/read_run.h"

#include <filesystem>
#include <functional>

#include <fmt/format.h>

#include "launch/cli/ini_file.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> read_config(const fs::path& file, std::vector<std::string>& problems) {
  std::map<std::string, std::string> config;
  try {
    const Settings settings = read_ini(file.string());
    for (const Setting& setting : settings.list) config[setting.key] = setting.text.value_or("");
    for (const std::string& error : settings.errors) problems.push_back(error);
  } catch (const UserError& error) {
    problems.push_back(error.what());
  }
  return config;
}

void read_configs(const fs::path& directory, RunData& run) {
  std::error_code error;
  std::vector<std::map<std::string, std::string>> configs;
  for (int number = 1;; ++number) {
    const fs::path file = directory / fmt::format("config.{}.ini", number);
    if (!fs::exists(file, error)) break;
    configs.push_back(read_config(file, run.problems));
  }
  if (fs::exists(directory / "config.ini", error)) {
    configs.push_back(read_config(directory / "config.ini", run.problems));
  } else {
    run.problems.push_back("config.ini is missing");
  }
  if (!configs.empty()) run.config = configs.back();
  for (size_t i = 1; i < configs.size(); ++i) {
    for (const std::string& change : config_differences(configs[i - 1], configs[i]))
      run.config_changes.push_back(fmt::format("attempt {}: {}", i + 1, change));
  }
}

void read_if_there(const fs::path& file, RunData& run, const std::function<void(std::string)>& read) {
  std::error_code error;
  if (!fs::exists(file, error)) return;
  try {
    read(read_text_file(file.string()));
  } catch (const UserError& problem) {
    run.problems.push_back(problem.what());
  }
}

std::string directory_name(const fs::path& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  return (whole.has_filename() ? whole.filename() : whole.parent_path().filename()).string();
}

}  // namespace

std::vector<std::string> config_differences(const std::map<std::string, std::string>& before,
                                            const std::map<std::string, std::string>& after) {
  std::vector<std::string> differences;
  const auto value_in = [](const auto& config, const std::string& key) {
    const auto found = config.find(key);
    return found == config.end() ? std::string("(not set)") : found->second;
  };
  std::map<std::string, std::string> all = before;
  all.insert(after.begin(), after.end());
  for (const auto& [key, ignored] : all) {
    const std::string was = value_in(before, key), is = value_in(after, key);
    if (was != is) differences.push_back(fmt::format("{}: {} -> {}", key, was, is));
  }
  return differences;
}

RunData read_run(const std::string& path) {
  const fs::path directory = path;
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    throw_bad_input("{}: {}; a run directory is wanted, such as runs/gpt2-3m-bible", path,
                    fs::exists(directory, error) ? "is no directory" : "there is no such directory");
  }
  const fs::path metrics = directory / "metrics.jsonl";
  if (!fs::is_regular_file(metrics, error)) {
    throw_bad_input(
        "{}: is no run directory: it has no metrics.jsonl, which `trireme train` writes (--run.dir)", path);
  }
  RunData run;
  run.path = path;
  run.name = directory_name(directory);
  read_metrics(read_text_file(metrics.string()), run);
  read_if_there(directory / "events.jsonl", run,
                [&](std::string text) { read_events(std::move(text), run); });
  read_if_there(directory / "ranks.jsonl", run, [&](std::string text) { read_ranks(std::move(text), run); });
  read_if_there(directory / "profile.json", run, [&](const std::string& text) { read_profile(text, run); });
  read_configs(directory, run);
  return run;
}

std::vector<RunData> read_runs(const std::vector<std::string>& paths) {
  std::vector<RunData> runs;
  std::map<std::string, int> num_of_name;
  for (const std::string& path : paths) {
    runs.push_back(read_run(path));
    ++num_of_name[runs.back().name];
  }
  std::map<std::string, int> num_of_path;
  for (RunData& run : runs) {
    if (num_of_name[run.name] > 1) run.name = run.path;
    if (const int number = ++num_of_path[run.name]; number > 1) run.name += fmt::format(" ({})", number);
  }
  return runs;
}

}  // namespace trireme::launch
