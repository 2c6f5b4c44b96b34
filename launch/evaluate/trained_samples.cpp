#include "launch/evaluate/trained_samples.h"

#include <filesystem>

#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_values.h"
#include "launch/export/own_model.h"
#include "models/formats/open_weights.h"

namespace trireme::launch {

namespace fs = std::filesystem;

TrainedSamples trained_samples_of(const std::string& path) {
  TrainedSamples samples;
  const WeightPlace place = find_weights(path);
  fs::path run;
  if (place.format == ModelFormat::checkpoint) run = run_of(place.path);
  if (place.format == ModelFormat::own_file) run = fs::absolute(place.path).parent_path();
  std::error_code error;
  if (run.empty() || !fs::exists(run / "config.ini", error)) return samples;
  for (const Setting& setting : read_ini((run / "config.ini").string()).list) {
    const auto number = option_values::parse_number<int64_t>(setting.text.value_or(""));
    if (!number || *number < 1) continue;
    if (setting.key == "train.seq-len") samples.seq_len = *number;
    if (setting.key == "train.micro-batch") samples.micro_batch = *number;
  }
  return samples;
}

}  // namespace trireme::launch
