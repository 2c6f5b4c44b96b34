#include "launch/compare/compared_run.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "launch/cli/ini_file.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Record = nlohmann::json;

double number(const Record& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>()
                                                   : std::numeric_limits<double>::quiet_NaN();
}

bool flag(const Record& json, const char* key, bool otherwise) {
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

ComparedStep step_from(const Record& json) {
  ComparedStep step;
  step.step = json.at("step").get<int64_t>();
  step.time = number(json, "time");
  step.loss = number(json, "loss");
  step.step_ms = number(json, "step_ms");
  step.tok_s = number(json, "tok_s");
  step.comm_wait_ms = number(json, "comm_wait_ms");
  step.core_wait_ms = number(json, "core_wait_ms");
  step.checkpoint_wait_ms = number(json, "checkpoint_wait_ms");
  step.is_sure = flag(json, "mfu_sure", true);
  step.is_skipped = flag(json, "skipped", false);
  if (const double loss = number(json, "val_loss"); !std::isnan(loss)) step.val_loss = loss;
  return step;
}

/// Lines that are objects with a step.
std::vector<Record> records(const fs::path& path) {
  std::vector<Record> all;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    Record json = Record::parse(line, nullptr, false);
    if (json.is_object()) all.push_back(std::move(json));
  }
  return all;
}

// The last program that has worked on it: an event of its start, else the first line of its log.
std::string version_of(const fs::path& folder) {
  std::string version;
  for (const Record& event : records(folder / "events.jsonl")) {
    if (event.value("kind", Record()) != "start") continue;
    if (const auto found = event.find("version"); found != event.end() && found->is_string())
      version = found->get<std::string>();
  }
  if (!version.empty()) return version;
  std::ifstream log(folder / "log.txt");
  for (std::string line; std::getline(log, line);) {
    if (line.starts_with("trireme ") && line.find(" (") != line.npos) version = line;
  }
  return version;
}

}  // namespace

ComparedRun read_compared_run(const std::string& path) {
  const fs::path folder(path), metrics = folder / "metrics.jsonl";
  std::error_code error;
  if (!fs::is_regular_file(metrics, error)) {
    throw_bad_input("{}: has no metrics.jsonl: a run directory of trireme train is needed (--run.dir)", path);
  }
  ComparedRun run;
  run.path = path;
  std::map<int64_t, ComparedStep> by_step;
  for (const Record& json : records(metrics)) {
    const auto step = json.find("step");
    if (step == json.end() || !step->is_number_integer()) continue;
    ComparedStep record = step_from(json);
    by_step.insert_or_assign(record.step, record);
  }
  for (const auto& [step, record] : by_step) {
    if (record.val_loss) run.last_val_loss = record.val_loss, run.last_val_step = step;
    if (step > 0) run.steps.push_back(record);
  }
  if (run.steps.empty()) throw_bad_input("{}: has no step yet", metrics.string());
  const fs::path config = folder / "config.ini";
  if (fs::is_regular_file(config, error)) {
    for (const Setting& setting : read_ini(config.string()).list)
      run.options[setting.key] = setting.text.value_or("");
  }
  run.version = version_of(folder);
  return run;
}

}  // namespace trireme::launch
