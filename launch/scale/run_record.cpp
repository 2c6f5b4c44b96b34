#include "launch/scale/run_record.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <vector>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Json = nlohmann::json;

/// Every line of the file that is a JSON object; none where there is no file.
void for_each_record(const std::filesystem::path& path, const std::function<void(const Json&)>& take) {
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    const Json record = Json::parse(line, nullptr, false);
    if (record.is_object()) take(record);
  }
}

double finite_in(const Json& record, const char* key) {
  const auto found = record.find(key);
  if (found == record.end() || !found->is_number()) return 0;
  const double value = found->get<double>();
  return std::isfinite(value) ? value : 0;
}

int64_t bytes_in(const Json& value) {
  return value.is_number() ? static_cast<int64_t>(std::max(0.0, value.get<double>())) : 0;
}

void read_steps(const std::filesystem::path& path, int64_t warmup, RunMeasurement& run) {
  double tokens = 0, seconds = 0, mfu_sum = 0, rate_sum = 0;
  std::vector<StepParts> windows;
  for_each_record(path, [&](const Json& record) {
    const auto step = static_cast<int64_t>(finite_in(record, "step"));
    const double step_ms = finite_in(record, "step_ms"), rate = finite_in(record, "tok_s");
    if (record.contains("mem_bytes"))
      run.measured_bytes = std::max(run.measured_bytes, bytes_in(record["mem_bytes"]));
    if (step <= warmup || step_ms <= 0) return;
    ++run.steps;
    seconds += step_ms * 1e-3;
    tokens += rate * step_ms * 1e-3;
    mfu_sum += finite_in(record, "mfu");
    rate_sum += rate;
    if (record.contains("mfu_sure") && record["mfu_sure"] == false) run.is_mfu_sure = false;
    const auto breakdown = record.find("breakdown");
    if (breakdown == record.end()) return;
    const auto parts = read_parts(*breakdown);
    if (parts && step - static_cast<int64_t>(parts->steps) >= warmup) windows.push_back(*parts);
  });
  if (run.steps == 0) return;
  run.step_ms = seconds * 1e3 / static_cast<double>(run.steps);
  run.tok_s = tokens / seconds;
  if (rate_sum > 0) run.mfu = mfu_sum / rate_sum * run.tok_s;
  run.parts = mean_parts(windows);
}

void read_start(const std::filesystem::path& path, RunMeasurement& run) {
  for_each_record(path, [&](const Json& record) {
    if (record.value("kind", Json()) != "start") return;
    if (record.contains("predicted_bytes")) run.predicted_bytes = bytes_in(record["predicted_bytes"]);
    run.hosts = static_cast<int>(finite_in(record, "hosts"));
  });
}

}  // namespace

RunMeasurement read_run_record(const std::string& directory, int64_t warmup) {
  const std::filesystem::path folder = directory;
  RunMeasurement run;
  read_steps(folder / "metrics.jsonl", warmup, run);
  if (run.steps == 0) throw_bad_input("{}/metrics.jsonl has no step after the first {}", directory, warmup);
  for_each_record(folder / "ranks.jsonl", [&](const Json& record) {
    const auto bytes = record.find("mem_bytes");
    if (bytes == record.end() || !bytes->is_array()) return;
    for (const Json& one : *bytes) run.measured_bytes = std::max(run.measured_bytes, bytes_in(one));
  });
  read_start(folder / "events.jsonl", run);
  return run;
}

std::string last_error_in(const std::string& log) {
  std::ifstream lines(log);
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    for (const std::string_view mark : {"trireme: error: ", "sbatch: error: ", "srun: error: "}) {
      const size_t at = line.find(mark);
      if (at == 0) found = line.substr(mark.size());
    }
  }
  return found;
}

}  // namespace trireme::launch
