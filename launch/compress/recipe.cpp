#include "launch/compress/recipe.h"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

#include "launch/cli/ini_file.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/compress/recipe_keys.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

constexpr std::string_view kCalibration = "calibration";

std::vector<std::string> key_names(std::span<const PlainOption> keys) {
  std::vector<std::string> names;
  for (const PlainOption& key : keys) names.push_back(key.name);
  return names;
}

/// A section with its keys, in the order of the file.
struct Section {
  std::string name;
  std::vector<Setting> keys;  ///< without the section
};

/// Sections of `text` by its own lines: parse_ini() says nothing of those without keys.
std::vector<std::string> section_names(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t begin = line.find_first_not_of(" \t\r"), close = line.find(']');
    if (begin == std::string_view::npos || line[begin] != '[' || close == std::string_view::npos) continue;
    names.emplace_back(line.substr(begin + 1, close - begin - 1));
  }
  return names;
}

class RecipeReader {
 public:
  RecipeReader(std::string_view text, const std::string& file) : file_(file) {
    Settings settings = parse_ini(text, file);
    errors_ = std::move(settings.errors);
    for (const std::string& name : section_names(text)) add_section(name);
    for (Setting& setting : settings.list) file_away(std::move(setting));
  }

  Recipe read() {
    Recipe recipe;
    recipe.name = file_;
    for (const Section& section : sections_) {
      if (section.name == kCalibration) {
        set_all(section, calibration_keys(recipe.calibration), "calibration.");
      } else {
        recipe.steps.push_back(step_of(section));
      }
    }
    if (recipe.steps.empty()) errors_.push_back(file_ + ": no step: a recipe has at least one [step NAME]");
    for (const std::string& error : order_errors(recipe))
      errors_.push_back(fmt::format("{}: {}", file_, error));
    if (!errors_.empty()) throw_bad_input("{}", fmt::join(errors_, "\n"));
    return recipe;
  }

 private:
  void add_section(const std::string& name) {
    const auto is_known = [&](const Section& section) { return section.name == name; };
    if (std::ranges::any_of(sections_, is_known)) {
      errors_.push_back(fmt::format("{}: [{}] is there twice", file_, name));
      return;
    }
    const bool is_step = name.starts_with("step ") && name.size() > 5;
    if (name != kCalibration && !is_step)
      errors_.push_back(
          fmt::format("{}: [{}] is no section of a recipe: [calibration] and [step NAME] are", file_, name));
    if (name.find('.') != std::string::npos)
      errors_.push_back(fmt::format("{}: [{}]: names of steps have no dots", file_, name));
    sections_.push_back({name, {}});
  }

  void file_away(Setting setting) {
    const auto section = std::ranges::find_if(
        sections_, [&](const Section& s) { return setting.key.starts_with(s.name + "."); });
    if (section == sections_.end()) {
      errors_.push_back(fmt::format("{}: {} stands in no section", setting.where, setting.key));
      return;
    }
    setting.key.erase(0, section->name.size() + 1);
    section->keys.push_back(std::move(setting));
  }

  /// Hands the section's keys over; what is none of them is an error. `prefix` belongs to their names.
  void set_all(const Section& section, std::span<const PlainOption> keys, const std::string& prefix = "") {
    if (section.keys.empty()) errors_.push_back(fmt::format("{}: [{}] has no keys", file_, section.name));
    for (const Setting& setting : section.keys) {
      const auto key = std::ranges::find(keys, prefix + setting.key, &PlainOption::name);
      if (key == keys.end()) {
        errors_.push_back(fmt::format("{}: {} is not a key of [{}]{}", setting.where, setting.key,
                                      section.name, did_you_mean(prefix + setting.key, key_names(keys))));
        continue;
      }
      const std::string text = setting.text.value_or("");
      std::string allowed;
      if (!key->placeholder.empty()) {
        allowed = text.empty() ? key->placeholder : key->set(text);
      } else if (text == "on") {
        key->set("");
      } else if (text != "off") {
        allowed = "on or off";
      }
      if (!allowed.empty())
        errors_.push_back(
            fmt::format("{}: {} is '{}'; allowed: {}", setting.where, setting.key, text, allowed));
    }
  }

  RecipeStep step_of(const Section& section) {
    StepDraft draft;
    draft.step.name = section.name.substr(std::min<size_t>(5, section.name.size()));
    std::vector<PlainOption> keys = method_keys(draft);
    for (const auto& more : {prune_keys(draft), gate_keys(draft.step.gate), recipe_only_keys(draft)})
      keys.insert(keys.end(), more.begin(), more.end());
    Section own = section;
    take_train_options(own, draft, keys);
    set_all(own, keys);
    if (draft.method.empty()) errors_.push_back(fmt::format("{}: [{}] has no method", file_, section.name));
    return finish(draft, fmt::format("{}: [{}] ", file_, section.name), errors_);
  }

  /// Of a section of training, keys with a dot that are none of the step's own are options of train.
  static void take_train_options(Section& section, StepDraft& draft, std::span<const PlainOption> keys) {
    const auto trains = [](const Setting& s) {
      return s.key == "method" && (s.text == "qat" || s.text == "train" || s.text == "distill");
    };
    if (std::ranges::none_of(section.keys, trains)) return;
    std::erase_if(section.keys, [&](const Setting& s) {
      const bool is_own = std::ranges::find(keys, s.key, &PlainOption::name) != keys.end();
      if (is_own || s.key.find('.') == std::string::npos) return false;
      for (auto* options : {&draft.step.qat.train_options, &draft.step.train.train_options})
        options->push_back(fmt::format("--{}={}", s.key, s.text.value_or("on")));
      return true;
    });
  }

  std::string file_;
  std::vector<std::string> errors_;
  std::vector<Section> sections_;
};

}  // namespace

Recipe parse_recipe(std::string_view text, const std::string& file) {
  return RecipeReader(text, file).read();
}

Recipe read_recipe(const std::string& file) { return parse_recipe(read_text_file(file), file); }

Recipe named_recipe(std::string_view name) {
  return parse_recipe(named_recipe_text(name), std::string(name));
}

}  // namespace trireme::launch
