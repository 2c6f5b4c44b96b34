// A step that trains back what was cut or pruned.
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

#include "launch/compress/compression.h"
#include "launch/compress/step_files.h"
#include "launch/compress/training.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostLosses = 400;

double number_or_nan(const nlohmann::json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_number() ? found->get<double>()
                                                     : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

std::vector<TrainedStep> losses_of(const std::string& run_directory) {
  const std::string file = run_directory + "/metrics.jsonl";
  std::error_code ignored;
  std::vector<TrainedStep> all, some;
  if (!std::filesystem::exists(file, ignored)) return all;
  std::istringstream lines(read_text_file(file));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) continue;
    all.push_back({.step = record["step"].get<int64_t>(),
                   .loss = number_or_nan(record, "loss"),
                   .valid_loss = number_or_nan(record, "val_loss")});
  }
  const size_t every = all.size() / kMostLosses + 1;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % every == 0 || i + 1 == all.size() || std::isfinite(all[i].valid_loss)) some.push_back(all[i]);
  }
  return some;
}

StepRecord train_step(Compression& c, size_t index) {
  const auto begin = Clock::now();
  const bool is_sparse = is_sparse_before(c.arguments.recipe, index);
  const std::string trained = train_model(c, index);
  together(c.world, [&] {
    if (!c.is_first()) return;
    // As what it began with was stored: sparse ones in bf16.
    const DType type = is_sparse ? DType::bf16 : values_type(*base_weights(c), c.files.config);
    write_step(c.work.step_file(index), c.config, *open_own_weights(trained),
               {.values = type, .is_sparse = is_sparse});
  });
  StepRecord record;
  measure_file(c, index, ops::Activations::exact, record);
  together(c.world, [&] {
    if (c.is_first()) record.training = losses_of(c.work.run_directory(index));
  });
  record.figures.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch
