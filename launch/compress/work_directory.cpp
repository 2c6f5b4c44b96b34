#include "launch/compress/work_directory.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

double member_number(const nlohmann::json& json, const char* key, const std::string& where) {
  const nlohmann::json& value = json_member(json, key, where);
  return value.is_number() ? value.get<double>() : 0;
}

MatrixOutcome outcome_of(const nlohmann::json& json, const std::string& where) {
  MatrixOutcome outcome;
  outcome.name = json_string(json_member(json, "name", where), "name", where);
  outcome.what = json_string(json_member(json, "what", where), "what", where);
  outcome.tokens = json_index(json_member(json, "tokens", where), INT64_MAX, "tokens", where);
  outcome.report.error = member_number(json, "error", where);
  outcome.report.damping = member_number(json, "damping", where);
  outcome.report.dead = json_index(json_member(json, "dead_inputs", where), INT64_MAX, "dead_inputs", where);
  outcome.report.note = json_string(json_member(json, "note", where), "note", where);
  return outcome;
}

}  // namespace

namespace {

nlohmann::ordered_json json_of(const std::vector<TrainedStep>& training) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const TrainedStep& at : training) {
    nlohmann::ordered_json json = {{"step", at.step}};
    if (std::isfinite(at.loss)) json["loss"] = at.loss;
    if (std::isfinite(at.valid_loss)) json["val_loss"] = at.valid_loss;
    list.push_back(std::move(json));
  }
  return list;
}

void read_more(const nlohmann::json& json, const std::string& where, StepRecord& record) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  if (json.contains("cut")) record.cut = cut_outcome_of(json["cut"], where);
  if (json.contains("shared")) record.shared = share_outcome_of(json["shared"], where);
  if (json.contains("zeros") && json["zeros"].is_object()) {
    for (const auto& [name, share] : json["zeros"].items())
      record.zeros[name] = share.is_number() ? share.get<double>() : 0;
  }
  if (!json.contains("training") || !json["training"].is_array()) return;
  for (const nlohmann::json& at : json["training"]) {
    const int64_t step = json_index(json_member(at, "step", where), INT64_MAX, "step", where);
    record.training.push_back(
        {.step = step,
         .loss = at.contains("loss") ? member_number(at, "loss", where) : kNaN,
         .valid_loss = at.contains("val_loss") ? member_number(at, "val_loss", where) : kNaN});
  }
}

}  // namespace

nlohmann::ordered_json json_of(const MatrixOutcome& outcome) {
  const RoundingReport& report = outcome.report;
  return {{"name", outcome.name},      {"what", outcome.what},
          {"tokens", outcome.tokens},  {"error", std::isfinite(report.error) ? report.error : -1},
          {"damping", report.damping}, {"dead_inputs", report.dead},
          {"note", report.note}};
}

nlohmann::ordered_json json_of(const WorkState& state) {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const StepRecord& step : state.steps) {
    nlohmann::ordered_json json = {{"figures", json_of(step.figures)},
                                   {"matrices", nlohmann::ordered_json::array()}};
    for (const MatrixOutcome& outcome : step.outcomes) json["matrices"].push_back(json_of(outcome));
    if (step.cut) json["cut"] = json_of(*step.cut);
    if (step.shared) json["shared"] = json_of(*step.shared);
    if (!step.zeros.empty()) json["zeros"] = step.zeros;
    if (!step.training.empty()) json["training"] = json_of(step.training);
    steps.push_back(std::move(json));
  }
  nlohmann::ordered_json json;
  json["identity"] = state.identity;
  json["base"] = state.base ? json_of(*state.base) : nlohmann::ordered_json();
  json["steps"] = std::move(steps);
  return json;
}

WorkState state_of(const nlohmann::json& json, const std::string& where) {
  WorkState state;
  const nlohmann::json& identity = json_member(json, "identity", where);
  if (!identity.is_object()) throw_bad_input("{}: \"identity\" must be an object", where);
  for (const auto& [key, value] : identity.items()) state.identity[key] = json_string(value, key, where);
  const nlohmann::json& base = json_member(json, "base", where);
  if (!base.is_null()) state.base = figures_of(base);
  for (const nlohmann::json& step : json_member(json, "steps", where)) {
    StepRecord record;
    record.figures = figures_of(json_member(step, "figures", where));
    for (const nlohmann::json& outcome : json_member(step, "matrices", where))
      record.outcomes.push_back(outcome_of(outcome, where));
    read_more(step, where, record);
    state.steps.push_back(std::move(record));
  }
  return state;
}

std::vector<std::string> differences(const WorkIdentity& before, const WorkIdentity& now) {
  std::vector<std::string> found;
  const auto text = [](const WorkIdentity& identity, const std::string& key) {
    const auto value = identity.find(key);
    return value == identity.end() || value->second.empty() ? std::string("nothing") : value->second;
  };
  WorkIdentity all = before;
  all.insert(now.begin(), now.end());
  for (const auto& [key, value] : all) {
    const std::string then = text(before, key), is = text(now, key);
    if (then != is) found.push_back(fmt::format("{} was {} and is {}", key, then, is));
  }
  return found;
}

WorkState WorkDirectory::open(const WorkIdentity& identity, bool restarts) {
  std::error_code error;
  const bool is_there = fs::exists(path_, error);
  if (is_there && !fs::exists(state_file(), error) && !fs::is_empty(path_, error) &&
      !fs::exists(path_ + "/.lock", error))
    throw_usage(
        "{} is there, and is not what an interrupted compression leaves: remove it, or name another "
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
  if (!fs::exists(state_file(), error)) {
    WorkState state;
    state.identity = identity;
    write(state);
    return state;
  }
  WorkState state = read();
  const std::vector<std::string> changed = differences(state.identity, identity);
  if (!changed.empty())
    throw_usage("{} has an attempt with other arguments: {}; --restart begins anew", path_,
                fmt::join(changed, "; "));
  return state;
}

WorkState WorkDirectory::read() const { return state_of(read_json_file(state_file()), state_file()); }

void WorkDirectory::write(const WorkState& state) const {
  write_file_atomically(state_file(), json_of(state).dump(1) + "\n");
}

void WorkDirectory::remove() {
  lock_.reset();
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string WorkDirectory::step_file(size_t step) const {
  return fmt::format("{}/step-{}.safetensors", path_, step + 1);
}

void WorkDirectory::make_step_directory(size_t step) const {
  std::error_code error;
  fs::create_directory(step_directory(step), error);
  if (error) throw_environment("cannot create {}: {}", step_directory(step), error.message());
}

}  // namespace trireme::launch
