#include "launch/run/load_run.h"

#include <filesystem>
#include <vector>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "runtime/base/error.h"

namespace trireme::launch {

RunConfig load_run(const std::string& directory, std::span<const std::string> arguments, int world_size,
                   const std::string& given_by) {
  const std::filesystem::path folder(directory);
  for (const char* name : {"config.ini", "model.safetensors"}) {
    if (!std::filesystem::exists(folder / name)) {
      throw_bad_input("{} is not a finished run: it has no {}", directory, name);
    }
  }
  std::vector<std::string> all = {"--config", (folder / "config.ini").string(), "--parallel.data", "0"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const ArgumentRules rules{
      .command = "train", .options = all_options(), .switches = {}, .needs_data = true, .given_by = given_by};
  RunConfig config = parse_run_arguments(rules, all, world_size).config;
  config.start = {.file = (folder / "model.safetensors").string()};
  return config;
}

}  // namespace trireme::launch
