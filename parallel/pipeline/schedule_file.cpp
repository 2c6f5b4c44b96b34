#include "parallel/pipeline/schedule_file.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>

#include "parallel/pipeline/check_schedule.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/file.h"

namespace trireme {

namespace {

using enum ActionKind;

/// The number at the front of `text`, which is taken off. No sign, no blanks.
std::optional<int> take_number(std::string_view& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || text.front() == '-' || number == INT_MAX) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

/// B stands for the whole backward until the file is known to have a W.
std::optional<Action> parse_token(std::string_view token, bool& is_split) {
  Action action;
  if (token.starts_with("BW")) {
    action.kind = backward;
    is_split = true;
    token.remove_prefix(1);
  } else if (token.starts_with('W')) {
    action.kind = backward_weight;
    is_split = true;
  } else if (token.starts_with('B')) {
    action.kind = backward_input;
  } else if (!token.starts_with('F')) {
    return std::nullopt;
  }
  token.remove_prefix(1);
  const auto micro_batch = take_number(token);
  if (!micro_batch) return std::nullopt;
  action.micro_batch = *micro_batch;
  if (token.starts_with('.')) {
    token.remove_prefix(1);
    const auto chunk = take_number(token);
    if (!chunk) return std::nullopt;
    action.chunk = *chunk;
  }
  return token.empty() ? std::optional(action) : std::nullopt;
}

/// Numbers beyond what the longest line could hold are slips of the pen, and would cost memory.
void check_size(const Schedule& s, const std::string& name) {
  size_t longest = 0;
  for (const auto& actions : s.actions_of_stage) longest = std::max(longest, actions.size());
  const auto pairs = static_cast<uint64_t>(s.num_micro_batches) * static_cast<uint64_t>(s.num_chunks);
  if (pairs <= longest) return;
  throw_bad_input(
      "{}: micro-batches up to {} and chunks up to {} appear, but the longest line has only {} tokens; both "
      "are counted from 0 without gaps",
      name, s.num_micro_batches - 1, s.num_chunks - 1, longest);
}

}  // namespace

Schedule parse_schedule(const std::string& text, const std::string& name) {
  Schedule schedule{0, 1, 1, ScheduleKind::file, {}};
  bool is_split = false;
  std::istringstream lines(text);
  std::string line, token;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream tokens(line.substr(0, line.find('#')));
    std::vector<Action> actions;
    while (tokens >> token) {
      const auto action = parse_token(token, is_split);
      if (!action) {
        throw_bad_input(
            "{}:{}: token {} is '{}'; expected F, B, W or BW, a micro-batch and perhaps .CHUNK, as F3.1",
            name, number, actions.size() + 1, token);
      }
      actions.push_back(*action);
      schedule.num_micro_batches = std::max(schedule.num_micro_batches, action->micro_batch + 1);
      schedule.num_chunks = std::max(schedule.num_chunks, action->chunk + 1);
    }
    if (!actions.empty()) schedule.actions_of_stage.push_back(std::move(actions));
  }
  if (schedule.actions_of_stage.empty()) throw_bad_input("{} has no line with a token such as F0", name);
  schedule.num_stages = static_cast<int>(schedule.actions_of_stage.size());
  check_size(schedule, name);
  for (auto& actions : schedule.actions_of_stage) {
    for (Action& action : actions) {
      if (action.kind == backward_input && !is_split) action.kind = backward;
    }
  }
  derive_transfers(schedule);
  return schedule;
}

Schedule read_schedule(const std::string& path) { return parse_schedule(read_text_file(path), path); }

void read_schedule_of(ScheduleSpec& spec) {
  if (!spec.is_file() || spec.read) return;
  ScheduleFile file;
  try {
    file.schedule = read_schedule(spec.path);
    const auto errors = check_schedule(file.schedule);
    if (!errors.empty()) {
      file.error = fmt::format(
          "{} is not a valid schedule:\n"
          "{}",
          spec.path, fmt::join(errors, "\n"));
    }
  } catch (const Error& error) {
    file.error = error.what();
  }
  spec.read = std::make_shared<const ScheduleFile>(std::move(file));
}

std::string schedule_text(const Schedule& s) {
  const bool is_split = has_split_backward(s);
  std::string text = fmt::format("# {}: {} stages, {} micro-batches, {} chunks\n", to_string(s.kind),
                                 s.num_stages, s.num_micro_batches, s.num_chunks);
  for (const auto& actions : s.actions_of_stage) {
    std::vector<std::string> tokens;
    for (const Action& action : actions) {
      if (!is_compute(action.kind)) continue;
      const bool is_whole = is_split && action.kind == backward;
      tokens.push_back(is_whole ? "BW" + to_string(action).substr(1) : to_string(action));
    }
    text += fmt::format("{}\n", fmt::join(tokens, " "));
  }
  return text;
}

void write_schedule(const Schedule& schedule, const std::string& path) {
  write_file_atomically(path, schedule_text(schedule));
}

}  // namespace trireme
