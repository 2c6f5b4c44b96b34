#include "launch/cli/run_arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/cli/command_line.h"
#include "launch/cli/ini_file.h"
#include "launch/cli/model_source.h"
#include "launch/cli/options/former_names.h"
#include "launch/cli/options/names_elsewhere.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/config/complete_config.h"
#include "parallel/pipeline/schedule_file.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Errors = std::vector<std::string>;

/// What an unknown key may stand for: a name of another program, also in a section of ours, or a slip of the
/// finger, as the wrong section of a name of ours is.
std::string meant_by(const std::string& key, std::span<const std::string> keys, std::string_view prefix) {
  const std::string elsewhere = explain_name_elsewhere(key, prefix);
  if (!elsewhere.empty()) return elsewhere;
  const std::string in_section = key.substr(key.rfind('.') + 1);
  const bool is_ours =
      std::ranges::any_of(keys, [&](const std::string& known) { return known.ends_with("." + in_section); });
  const std::string of_another = is_ours ? "" : explain_name_elsewhere(in_section, prefix);
  return of_another.empty() ? did_you_mean(key, keys, prefix) : of_another;
}

/// The settings of each source, by the keys of the table.
class Sources {
 public:
  Sources(const ArgumentRules& rules, std::span<const std::string> args, RunArguments& result, Errors& errors)
      : rules_(rules), result_(result), errors_(errors) {
    std::vector<std::string> keys = rules.switches;
    keys.emplace_back("config");
    for (const Option& option : rules.options) {
      keys.push_back(option.key());
      if (!option.alias.empty()) keys.push_back(option.alias);
    }
    Settings given = read_command_line(args, keys);
    if (!rules.given_by.empty()) {
      for (Setting& setting : given.list) setting.where = rules.given_by;
    }
    take(std::move(given), keys, true);
    if (config_.empty()) return;
    keys.clear();
    for (const Option& option : rules.options) keys.push_back(option.key());
    take(read_ini(config_), keys, false);
  }

  std::vector<Setting> file, command_line;

 private:
  void take(Settings settings, std::span<const std::string> keys, bool is_command_line) {
    const std::string_view dashes = is_command_line && rules_.given_by.empty() ? "--" : "";
    errors_.insert(errors_.end(), settings.errors.begin(), settings.errors.end());
    for (const std::string& argument : settings.arguments) {
      errors_.push_back(fmt::format("command line: unexpected argument '{}'", argument));
    }
    for (Setting& setting : settings.list) {
      take_former_name(setting, keys, dashes);
      if (std::ranges::find(keys, setting.key) == keys.end()) {
        errors_.push_back(fmt::format("{}: {}{} is not an option of trireme {}{}", setting.where, dashes,
                                      setting.key, rules_.command, meant_by(setting.key, keys, dashes)));
      } else if (is_command_line && setting.key == "config") {
        if (!setting.text) errors_.push_back("command line: --config needs a FILE");
        config_ = setting.text.value_or("");
      } else if (is_command_line &&
                 std::ranges::find(rules_.switches, setting.key) != rules_.switches.end()) {
        if (setting.text)
          errors_.push_back(
              fmt::format("command line: --{} takes no value, given '{}'", setting.key, *setting.text));
        result_.switches.insert(setting.key);
      } else {
        (is_command_line ? command_line : file).push_back(std::move(setting));
      }
    }
  }

  /// Gives the setting today's name where the command has that and not the other.
  void take_former_name(Setting& setting, std::span<const std::string> keys, std::string_view prefix) {
    const std::string_view now = todays_name(setting.key);
    if (now.empty() || std::ranges::find(keys, now) == keys.end()) return;
    result_.warnings.push_back(fmt::format("{}: {}{} is the former name of {}{}, which it will need one day",
                                           setting.where, prefix, setting.key, prefix, now));
    setting.key = now;
  }

  const ArgumentRules& rules_;
  RunArguments& result_;
  Errors& errors_;
  std::string config_;
};

bool names(const Setting& setting, const Option& option) {
  return setting.key == option.key() || (!option.alias.empty() && setting.key == option.alias);
}

const Setting* last_of(const std::vector<Setting>& settings, const Option& option) {
  const auto found =
      std::find_if(settings.rbegin(), settings.rend(), [&](const Setting& s) { return names(s, option); });
  return found == settings.rend() ? nullptr : &*found;
}

void apply(const Option& option, const Setting& setting, RunConfig& config, Errors& errors) {
  if (!setting.text && !option.value.is_switch) {
    errors.push_back(
        fmt::format("{}: {} needs a value: {}", setting.where, option.key(), option.value.placeholder));
    return;
  }
  const std::string text = setting.text.value_or("on");
  const std::string allowed = option.value.set(config, text);
  if (!allowed.empty()) {
    errors.push_back(fmt::format("{}: {} is '{}'; allowed: {}", setting.where, option.key(), text, allowed));
  }
}

struct Built {
  RunConfig config;
  std::set<std::string> given;
};

/// Row by row, because a preset comes before the numbers that override it; of a row, the file before the
/// command line.
Built build(const ArgumentRules& rules, std::span<const std::vector<Setting>* const> layers, Errors& errors) {
  Built built;
  for (const Option& option : rules.options) {
    for (const std::vector<Setting>* layer : layers) {
      const Setting* setting = last_of(*layer, option);
      if (setting == nullptr) continue;
      apply(option, *setting, built.config, errors);
      built.given.insert(option.key());
    }
  }
  return built;
}

/// The command line's text replaces the file's tokens, and the other way round.
void replace_data_source(Sources& sources, std::vector<std::string>& notes) {
  const std::pair<const char*, const char*> pairs[] = {{"data.text", "data.tokens"},
                                                       {"data.tokens", "data.text"}};
  const auto has = [](const std::vector<Setting>& list, std::string_view key) {
    return std::ranges::any_of(list, [&](const Setting& s) { return s.key == key; });
  };
  for (const auto& [chosen, replaced] : pairs) {
    if (!has(sources.command_line, chosen) || !has(sources.file, replaced)) continue;
    std::erase_if(sources.file,
                  [&, key = std::string_view(replaced)](const Setting& s) { return s.key == key; });
    // A format of the one is none of the other.
    std::erase_if(sources.file, [](const Setting& s) { return s.key == "data.format"; });
    notes.push_back(fmt::format("--{} replaces {} of the file", chosen, replaced));
  }
}

const Setting* given(const Sources& sources, std::string_view key, std::string_view alias = "") {
  for (const std::vector<Setting>* list : {&sources.command_line, &sources.file}) {
    const auto found = std::find_if(list->rbegin(), list->rend(), [&](const Setting& s) {
      return s.key == key || (!alias.empty() && s.key == alias);
    });
    if (found != list->rend()) return &*found;
  }
  return nullptr;
}

bool is_on(const Setting* setting) {
  if (setting == nullptr) return false;
  const std::string text = setting->text.value_or("on");
  return text == "on" || text == "true" || text == "yes" || text == "1";
}

/// The model of --init-from. A run that resumes has weights of its own, so that its configuration says all.
std::optional<ModelSource> source_of(const ArgumentRules& rules, const Sources& sources) {
  const Setting* path = given(sources, "model.init-from", "init-from");
  if (path == nullptr || !path->text || path->text->empty()) return std::nullopt;
  const bool states_kind = given(sources, "model.preset", "preset") || given(sources, "model.family");
  const Setting* resume = given(sources, "run.resume", "resume");
  const bool resumes = resume != nullptr && resume->text.value_or("auto") != "never";
  if (resumes && states_kind) return std::nullopt;
  std::optional<ModelSource> source = read_model_source(*path->text, rules.options);
  if (!source) return std::nullopt;
  const bool upcycles = is_on(given(sources, "moe.upcycle"));
  bool states_model = states_kind;
  for (const std::vector<Setting>* list : {&sources.command_line, &sources.file}) {
    for (const Setting& setting : *list)
      states_model = states_model || (setting.key.starts_with("model.") && setting.key != "model.init-from");
  }
  // Of a run, options that say what its model is say all of it, as they did for its first start.
  if (source->model ? states_kind : states_model) {
    std::erase_if(source->settings, [](const Setting& s) { return s.key != "data.tokenizer"; });
    if (!source->model) return std::nullopt;
  }
  if (upcycles) std::erase_if(source->settings, [](const Setting& s) { return s.key.starts_with("moe."); });
  return source;
}

/// A key without effect is an error, unless it had one until the command line changed something else.
void check_effects(const ArgumentRules& rules, const Sources& sources, const RunConfig& config,
                   int world_size, RunArguments& result, Errors& errors) {
  Errors unused;
  const std::vector<Setting>* file_alone[] = {&sources.file};
  Built from_file = build(rules, file_alone, unused);
  ScheduleSpec& schedule = from_file.config.parallel.schedule;
  if (schedule == config.parallel.schedule) schedule = config.parallel.schedule;  // with what has been read
  complete(from_file.config, from_file.given, world_size, rules.needs_data);
  for (const Option& option : rules.options) {
    const Setting* in_file = last_of(sources.file, option);
    const Setting* setting = last_of(sources.command_line, option);
    if (setting == nullptr) setting = in_file;
    if (setting == nullptr || !option.no_effect) continue;
    const std::string reason = option.no_effect(config);
    if (reason.empty()) continue;
    const std::string sentence =
        fmt::format("{}: {} has no effect: {}", setting->where, option.key(), reason);
    const bool overridden = setting == in_file && option.no_effect(from_file.config).empty();
    (overridden ? result.notes : errors).push_back(sentence);
  }
}

}  // namespace

void throw_errors(const std::vector<std::string>& errors, const std::string& command) {
  std::string message = errors.front();
  if (errors.size() > 1) {
    message = fmt::format("{} errors:", errors.size());
    for (size_t i = 0; i < errors.size(); ++i) message += fmt::format("\n  {}. {}", i + 1, errors[i]);
  }
  throw_usage("{}\nall options: trireme {} --help", message, command);
}

void print_notes(const RunArguments& arguments) {
  for (const std::string& warning : arguments.warnings) fmt::print("warning: {}\n", warning);
  for (const std::string& note : arguments.notes) fmt::print("note: {}\n", note);
}

bool asks_for_help(std::span<const std::string> args) {
  return std::ranges::any_of(args, [](const std::string& arg) { return arg == "-h" || arg == "--help"; });
}

RunArguments parse_run_arguments(const ArgumentRules& rules, std::span<const std::string> args,
                                 int world_size) {
  RunArguments result;
  Errors errors;
  Sources sources(rules, args, result, errors);
  replace_data_source(sources, result.notes);
  const std::optional<ModelSource> source = source_of(rules, sources);
  const std::vector<Setting> of_source = source ? source->settings : std::vector<Setting>{};
  const std::vector<Setting>* layers[] = {&of_source, &sources.file, &sources.command_line};
  Built built = build(rules, layers, errors);
  result.config = std::move(built.config);
  const bool is_readable = errors.empty();
  if (source && source->model && result.config.model.vocab_size == 0)
    result.config.model.vocab_size = source->model->vocab_size;
  ParallelPlan& plan = result.config.parallel;
  if (std::string error = size_error(plan); !error.empty()) {
    errors.push_back(std::move(error));
    throw_errors(errors, rules.command);
  }
  if (plan.pipeline > 1) read_schedule_of(plan.schedule);
  if (rules.simulates_ranks && world_size == 1 && plan.data == 0) plan.data = 1;
  const bool is_alone = rules.simulates_ranks && world_size == 1;
  const bool imagined = (result.switches.contains("dry-run") || is_alone) && plan.data > 0;
  const int of_teacher = result.config.distill ? result.config.distill.ranks : 0;
  const int ranks = imagined ? plan.data * plan.ranks_per_replica() + of_teacher : world_size;
  const Errors whole = complete(result.config, built.given, ranks, rules.needs_data);
  errors.insert(errors.end(), whole.begin(), whole.end());
  if (source && is_readable) {
    const Errors against = contradictions(*source, result.config);
    errors.insert(errors.end(), against.begin(), against.end());
  }
  check_effects(rules, sources, result.config, ranks, result, errors);
  if (!errors.empty()) throw_errors(errors, rules.command);
  return result;
}

}  // namespace trireme::launch
