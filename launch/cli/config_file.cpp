#include "launch/cli/config_file.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_table.h"
#include "parallel/plan/schedule_spec.h"
#include "runtime/data/tokenizer_kind.h"

namespace trireme::launch {

namespace {

/// A directory is a run's own, how far it goes and from where is of one start of it, and an empty text says
/// what leaving the key out says.
bool is_left_out(const Option& option, const RunConfig& config) {
  for (const char* key : {"run.dir", "run.resume", "train.stop-after"}) {
    if (option.key() == key) return true;
  }
  if (option.no_effect && !option.no_effect(config).empty()) return true;
  return option.value.get(config).empty() && option.value.get(RunConfig()).empty();
}

/// A path as it is found from any folder; other values, and names of what is no file, as they are.
std::string found_from_anywhere(const Option& option, const std::string& value) {
  const std::string key = option.key();
  const bool is_path = key == "data.text" || key == "data.tokens" || key == "data.valid-tokens" ||
                       key == "model.init-from" || key == "checkpoint.dir" || key == "distill.teacher";
  const bool is_tokenizer_file = key == "data.tokenizer" && tokenizer_kind(value) == TokenizerKind::file;
  const bool is_schedule_file = key == "parallel.schedule" && ScheduleSpec::named(value).is_file();
  if (value.empty() || !(is_path || is_tokenizer_file || is_schedule_file)) return value;
  std::error_code error;
  const auto path = std::filesystem::absolute(value, error);
  return error ? value : path.string();
}

}  // namespace

std::string write_config(const RunConfig& config) {
  std::string out, section;
  for (const Option& option : all_options()) {
    if (is_left_out(option, config)) continue;
    if (option.section != section) {
      section = option.section;
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    }
    out += fmt::format("{} = {}\n", option.name,
                       quote_ini(found_from_anywhere(option, option.value.get(config))));
  }
  return out;
}

}  // namespace trireme::launch
