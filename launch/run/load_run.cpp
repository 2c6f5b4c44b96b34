#include "launch/run/load_run.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "parallel/plan/schedule_spec.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

bool has_schedule_file(const std::string& config_ini) {
  return std::ranges::any_of(read_ini(config_ini).list, [](const Setting& setting) {
    return setting.key == "parallel.schedule" && ScheduleSpec::named(setting.text.value_or("")).is_file();
  });
}

}  // namespace

RunConfig load_run(const std::string& directory, std::span<const std::string> arguments, int world_size,
                   const std::string& given_by, std::vector<std::string>* warnings) {
  const std::filesystem::path folder(directory);
  for (const char* name : {"config.ini", "model.safetensors"}) {
    if (!std::filesystem::exists(folder / name)) {
      throw_bad_input("{} is not a finished run: it has no {}", directory, name);
    }
  }
  const std::string config_ini = (folder / "config.ini").string();
  // What it began with may be gone or another by now.
  std::vector<std::string> all = {"--config",          config_ini, "--parallel.data",   "0",
                                  "--model.init-from", "",         "--distill.teacher", ""};
  if (!has_schedule_file(config_ini)) all.insert(all.end(), {"--train.global-batch", "0"});
  all.insert(all.end(), arguments.begin(), arguments.end());
  const ArgumentRules rules{
      .command = "train", .options = all_options(), .switches = {}, .needs_data = true, .given_by = given_by};
  RunArguments parsed = parse_run_arguments(rules, all, world_size);
  if (warnings != nullptr) *warnings = std::move(parsed.warnings);
  RunConfig config = std::move(parsed.config);
  config.start = {.file = (folder / "model.safetensors").string()};
  return config;
}

}  // namespace trireme::launch
