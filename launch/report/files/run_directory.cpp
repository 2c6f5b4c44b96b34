#include "launch/report/files/run_directory.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <vector>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "launch/report/files/continue_records.h"
#include "launch/report/files/tensorboard_event.h"
#include "launch/report/files/tfrecord.h"
#include "models/families/family.h"
#include "models/families/presets.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

fs::path without_slash(const fs::path& wanted) {  // "runs/x/" is "runs/x"
  return wanted.has_filename() ? wanted : wanted.parent_path();
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

fs::path events_name(const fs::path& directory) {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  // Of two attempts within a second the later one has the larger number.
  for (auto second = static_cast<int64_t>(now());; ++second) {
    const fs::path name = fmt::format("events.out.tfevents.{:010}.{}", second, host);
    std::error_code error;
    if (!fs::exists(directory / name, error)) return name;
  }
}

}  // namespace

fs::path take_run_directory(const fs::path& wanted) {
  const fs::path name = without_slash(wanted);
  std::error_code error;
  fs::create_directories(name, error);
  if (error) throw_environment("{}: cannot be created: {}", name.string(), error.message());
  return name;
}

fs::path create_run_directory(const fs::path& wanted) {
  std::error_code error;
  const fs::path name = without_slash(wanted);
  if (name.has_parent_path()) fs::create_directories(name.parent_path(), error);
  if (error) throw_environment("{}: cannot be created: {}", name.parent_path().string(), error.message());
  for (int number = 1;; ++number) {
    fs::path path = name;
    if (number > 1) path += fmt::format("-{}", number);
    // Of several runs that start together, one creates it; the others see false and continue to the next
    // number.
    const bool created = fs::create_directory(path, error);
    const bool taken = !error || error == std::errc::file_exists || error == std::errc::not_a_directory;
    if (error && !(taken && fs::exists(fs::symlink_status(path)))) {
      throw_environment("{}: cannot be created: {}", path.string(), error.message());
    }
    if (created) return path;
  }
}

std::filesystem::path wanted_directory(const RunConfig& config) {
  if (!config.run.dir.empty()) return config.run.dir;
  const fs::path data = config.data.text.empty() ? config.data.tokens : config.data.text;
  const ModelConfig& model = config.model;
  const std::string name = find_preset(model.name) ? model.name
                                                   : fmt::format("{}-{}x{}", to_string(model.family),
                                                                 model.num_layers, model.hidden_size);
  return fs::path("runs") / fmt::format("{}-{}", name, data.stem().string());
}

std::string to_json_line(const StepMetrics& m) {
  if (m.step == 0) {
    nlohmann::ordered_json json = {{"step", 0}, {"time", m.time}, {"tokens", m.tokens}};
    if (m.val_loss) json["val_loss"] = *m.val_loss;
    return json.dump();
  }
  nlohmann::ordered_json json = {{"step", m.step},
                                 {"time", m.time},
                                 {"tokens", m.tokens},
                                 {"loss", m.loss},
                                 {"grad_norm", m.grad_norm},
                                 {"lr", m.lr},
                                 {"step_ms", m.step_ms},
                                 {"comm_wait_ms", m.comm_wait_ms},
                                 {"data_wait_ms", m.data_wait_ms},
                                 {"core_wait_ms", m.core_wait_ms},
                                 {"checkpoint_wait_ms", m.checkpoint_wait_ms},
                                 {"tok_s", m.tok_s},
                                 {"tflops", m.tflops},
                                 {"mfu", m.mfu},
                                 {"mfu_sure", m.is_mfu_sure},
                                 {"peak_tflops", m.peak_tflops},
                                 {"mem_bytes", m.mem_bytes},
                                 {"reserved_bytes", m.reserved_bytes},
                                 {"loss_scale", m.loss_scale},
                                 {"skips", m.skips}};
  if (m.objective) json["objective"] = *m.objective;
  if (m.zeros) json["zeros"] = *m.zeros;
  if (m.skipped) json["skipped"] = true;
  if (m.checkpoints_skipped > 0) json["checkpoints_skipped"] = m.checkpoints_skipped;
  if (m.loss_z) json["loss_z"] = *m.loss_z;
  if (m.grad_norm_z) json["grad_norm_z"] = *m.grad_norm_z;
  if (m.val_loss) json["val_loss"] = *m.val_loss;
  if (m.slowest_rank >= 0) {
    json["slowest_rank"] = m.slowest_rank;
    json["slowest_ratio"] = m.slowest_ratio;
    json["straggler"] = m.is_straggler;
  }
  if (m.memory) {
    for (size_t i = 0; i < kNumMemoryCategories; ++i)
      json["memory"][std::string(to_string(static_cast<MemoryCategory>(i)))] = (*m.memory)[i];
  }
  if (m.breakdown) json["breakdown"] = to_json(*m.breakdown);
  if (!m.routers.empty()) {
    json["aux_loss"] = m.aux_loss;
    json["router_z_loss"] = m.router_z_loss;
    json["dispatch_bytes"] = m.dispatch_bytes;
    for (const RouterMetrics& r : m.routers) {
      json["experts"].push_back({{"layer", r.layer},
                                 {"imbalance", r.imbalance},
                                 {"entropy", r.entropy},
                                 {"dropped", r.dropped},
                                 {"dead", r.num_dead},
                                 {"expert_ms", r.expert_ms},
                                 {"lost_ms", r.lost_ms},
                                 {"load", r.load}});
    }
  }
  return json.dump();
}

RunDirectory::RunDirectory(fs::path path, std::string_view config_ini, std::optional<int64_t> step)
    : path_(std::move(path)),
      config_ini_(config_ini),
      metrics_{"metrics.jsonl"},
      ranks_{"ranks.jsonl"},
      events_{events_name(path_).string()},
      log_{"log.txt"} {
  if (step) {
    number_config(path_);
    for (const Sink* sink : {&metrics_, &ranks_}) keep_records_up_to(path_ / sink->name, *step);
    keep_events_up_to(path_, *step);
    keep_happenings_up_to(path_ / happenings_.name, *step);
  }
  open();
}

void RunDirectory::open() {
  for (Sink* sink : {&metrics_, &events_, &log_, &happenings_}) sink->file.emplace(path_ / sink->name);
  ranks_.file.reset();  // with its first record
  AppendFile(path_ / "config.ini").write(config_ini_);
  events_.file->write(tfrecord(first_event(now())));
}

void RunDirectory::add(Sink& sink, std::string_view bytes) noexcept {
  try {
    if (!sink.file) sink.file.emplace(path_ / sink.name);
    sink.file->write(bytes);
  } catch (const std::exception& error) {
    if (++sink.num_missing == 1) failures_.push_back(fmt::format("{}; the run continues", error.what()));
  }
}

std::string RunDirectory::missing() const {
  std::string text;
  for (const Sink* sink : {&metrics_, &ranks_, &events_, &log_, &happenings_}) {
    if (sink->num_missing == 0) continue;
    text +=
        fmt::format("{}{} lacks {} of its records", text.empty() ? "" : ", ", sink->name, sink->num_missing);
  }
  return text;
}

bool RunDirectory::restore() {
  std::error_code error;
  if (fs::is_directory(path_, error)) return false;
  fs::create_directories(path_, error);
  if (error)
    throw_environment("{}: has disappeared and cannot be created: {}", path_.string(), error.message());
  open();
  return true;
}

void RunDirectory::write(const StepMetrics& m) {
  add(metrics_, to_json_line(m) + "\n");
  if (m.ranks) add(ranks_, ranks_json_line(*m.ranks, m.step, m.time) + "\n");
  if (m.step == 0) {
    if (!m.val_loss) return;
    const Scalar before{"loss/validation", static_cast<float>(*m.val_loss)};
    add(events_, tfrecord(scalar_event(m.time, 0, {&before, 1})));
    return;
  }
  const auto single = [](double value) { return static_cast<float>(value); };
  std::vector<Scalar> scalars = {
      {"loss/train", single(m.loss)},
      {"optimizer/grad_norm", single(m.grad_norm)},
      {"optimizer/lr", single(m.lr)},
      {"speed/step_ms", single(m.step_ms)},
      {"speed/comm_wait_ms", single(m.comm_wait_ms)},
      {"speed/data_wait_ms", single(m.data_wait_ms)},
      {"speed/checkpoint_wait_ms", single(m.checkpoint_wait_ms)},
      {"speed/tokens_per_second", single(m.tok_s)},
      {"speed/tflops", single(m.tflops)},
      {"speed/mfu", single(m.mfu)},
      {"speed/peak_tflops", single(m.peak_tflops)},
      {"memory/peak_mib", single(static_cast<double>(m.mem_bytes) / (1 << 20))},
      {"memory/reserved_mib", single(static_cast<double>(m.reserved_bytes) / (1 << 20))}};
  scalars.push_back({"optimizer/loss_scale", single(m.loss_scale)});
  scalars.push_back({"optimizer/skips", single(static_cast<double>(m.skips))});
  if (m.objective) scalars.push_back({"loss/objective", single(*m.objective)});
  if (m.zeros) scalars.push_back({"optimizer/zeros", single(*m.zeros)});
  if (m.slowest_rank >= 0) scalars.push_back({"speed/slowest_ratio", single(m.slowest_ratio)});
  if (m.val_loss) scalars.push_back({"loss/validation", single(*m.val_loss)});
  if (!m.routers.empty()) {
    scalars.push_back({"loss/auxiliary", single(m.aux_loss)});
    scalars.push_back({"loss/router_z", single(m.router_z_loss)});
    scalars.push_back({"speed/dispatch_bytes", single(static_cast<double>(m.dispatch_bytes))});
  }
  std::deque<std::string> tags;  // scalars only look at them
  for (const RouterMetrics& r : m.routers) {
    const auto add = [&](const char* what, double value) {
      scalars.push_back(
          {tags.emplace_back(fmt::format("experts_{}/layer_{}", what, r.layer)), single(value)});
    };
    add("imbalance", r.imbalance);
    add("entropy", r.entropy);
    add("dropped", r.dropped);
    add("dead", static_cast<double>(r.num_dead));
    add("ms", r.expert_ms);
    add("lost_ms", r.lost_ms);
  }
  if (m.breakdown) {
    for (const auto& [part, ms] : parts_of(*m.breakdown)) {
      std::string tag = "breakdown/" + part;
      std::ranges::replace(tag, ' ', '_');
      scalars.push_back({tags.emplace_back(std::move(tag)), single(ms)});
    }
  }
  add(events_, tfrecord(scalar_event(m.time, m.step, scalars)));
}

void RunDirectory::add(const RunEvent& event) { add(happenings_, to_json_line(event) + "\n"); }

void RunDirectory::log(std::string_view line) noexcept { add(log_, std::string(line) + "\n"); }

}  // namespace trireme::launch
