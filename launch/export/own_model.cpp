#include "launch/export/own_model.h"

#include <algorithm>
#include <initializer_list>

#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_table.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace fs = std::filesystem;

namespace {

/// The options of some sections and of one key.
RunConfig with_sections(const TextMap& options, const std::string& where,
                        std::initializer_list<std::string_view> sections, std::string_view key = "") {
  RunConfig config;
  for (const Option& option : all_options()) {
    if (std::ranges::find(sections, option.section) == sections.end() && option.key() != key) continue;
    const auto found = options.find(option.key());
    if (found == options.end() || option.name == "init-from" || option.name == "upcycle") continue;
    if (option.name == "preset" && found->second.empty()) continue;  // of no preset
    const std::string allowed = option.value.set(config, found->second);
    if (!allowed.empty())
      throw_bad_input("{}: {} is '{}'; allowed: {}", where, option.key(), found->second, allowed);
  }
  return config;
}

TextMap options_of(const std::string& config_ini) {
  TextMap options;
  for (const Setting& setting : read_ini(config_ini).list) options[setting.key] = setting.text.value_or("on");
  return options;
}

}  // namespace

ModelConfig model_of_options(const TextMap& options, const std::string& where) {
  return with_sections(options, where, {"model", "moe"}).model;
}

QuantizationConfig quantization_of_options(const TextMap& options, const std::string& where) {
  const RunConfig config = with_sections(options, where, {"qat"}, "train.precision");
  QuantizationConfig quantization = config.model.quantization;
  quantization.compute_type = config.train.precision;
  return quantization;
}

ModelConfig model_of_ini(const std::string& config_ini) {
  return model_of_options(options_of(config_ini), config_ini);
}

QuantizationConfig quantization_of_ini(const std::string& config_ini) {
  return quantization_of_options(options_of(config_ini), config_ini);
}

fs::path run_of(const fs::path& checkpoint) {
  std::error_code ignored;
  const fs::path folder = fs::absolute(checkpoint, ignored).lexically_normal();
  for (fs::path up = folder; up.has_relative_path(); up = up.parent_path()) {
    if (fs::exists(up / "config.ini", ignored)) return up;
    if (up != folder && up.filename() != "checkpoints" && up != folder.parent_path()) break;
  }
  return {};
}

}  // namespace trireme::launch
