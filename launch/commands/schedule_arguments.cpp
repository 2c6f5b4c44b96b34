// The arguments of `trireme schedule`; schedule_command.h does the work.
#include <algorithm>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "launch/cli/options/nearest_name.h"
#include "launch/cli/options/option_values.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/schedule_command.h"

namespace trireme::launch {

namespace {

/// Stages x micro-batches x chunks: what is drawn and proved in about a second.
constexpr int64_t kMostCells = int64_t{1} << 18;

std::string set_costs(ActionCosts& costs, const std::string& text) {
  double* const fields[] = {&costs.forward, &costs.backward_input, &costs.backward_weight,
                            &costs.send_latency};
  const std::string allowed = "F,B,W or F,B,W,LATENCY: numbers from 1e-100 to 1e100; W and LATENCY may be 0";
  size_t begin = 0, count = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const auto number =
        option_values::parse_number<double>(std::string_view(text).substr(begin, end - begin));
    if (count == 4 || !number || !std::isfinite(*number) || *number < 0 || (count < 2 && *number == 0))
      return allowed;
    // Sums and ratios of such numbers are finite.
    if (*number != 0 && (*number < 1e-100 || *number > 1e100)) return allowed;
    *fields[count++] = *number;
    begin = end + 1;
  }
  return count >= 3 ? "" : allowed;
}

std::vector<PlainOption> schedule_options(ScheduleOptions& o) {
  std::vector<std::string> kinds;
  for (const auto& known : made_schedule_kinds()) kinds.emplace_back(known.name);
  const auto kind = [&o, kinds](const std::string& text) -> std::string {
    const ScheduleSpec spec = ScheduleSpec::named(text);
    o.kind = spec.kind;
    if (!spec.is_file()) return "";
    return fmt::format("{}{}", fmt::join(kinds, ", "), did_you_mean(text, kinds));
  };
  return {
      {"kind", "NAME", fmt::format("schedule: {}", fmt::join(kinds, ", ")), std::string(to_string(o.kind)),
       kind},
      {"pp", "N", "pipeline stages", fmt::to_string(o.num_stages), whole_into(o.num_stages, 1, 4096)},
      {"micro-batches", "N", "micro-batches per step", fmt::to_string(o.num_micro_batches),
       whole_into(o.num_micro_batches, 1, kMostCells)},
      {"virtual-stages", "N",
       "virtual stages (model chunks) per stage; above 1 with --kind "
       "interleaved",
       fmt::to_string(o.num_chunks), whole_into(o.num_chunks, 1, 1024)},
      {"file", "FILE",
       "read the schedule from a file with one line per stage, such as F0 F1 B0 B1 "
       "(docs/pipeline.md)",
       "none", text_into(o.file)},
      {"costs", "F,B,W[,LATENCY]",
       "cost of a stage's forward pass, its input and weight gradients, and of a send", "1,1,1,0",
       [&o](const std::string& text) { return set_costs(o.costs, text); }},
      {"list", "", "list every action of every stage, with sends and receives", "",
       [&o](const std::string&) {
         o.list = true;
         return std::string();
       }},
      {"svg", "FILE", "draw the timeline into an SVG file", "none", text_into(o.svg)},
      {"write", "FILE", "write the schedule as a file for --file", "none", text_into(o.write)},
  };
}

std::string schedule_help() {
  ScheduleOptions options;
  return fmt::format(
      "usage: trireme schedule [options]    draw and check a pipeline schedule, without training\n\n"
      "  trireme schedule --pp 4 --micro-batches 8 --kind 1f1b\n"
      "  trireme schedule --pp 4 --micro-batches 8 --kind interleaved --virtual-stages 2 --svg "
      "out.svg\n"
      "  trireme schedule --file mine.txt --list\n\n{}\n"
      "F3: forward of micro-batch 3; B3: its backward, or only the input gradient if W3 computes the "
      "weight gradient;\n"
      "F3.1: forward on the stage's second model chunk\n",
      help_plain(schedule_options(options)));
}

bool is_given(std::span<const std::string> args, const std::string& name) {
  return std::ranges::any_of(
      args, [&](const std::string& arg) { return arg == "--" + name || arg.starts_with("--" + name + "="); });
}

void check_together(const ScheduleOptions& o, std::span<const std::string> args,
                    std::vector<std::string>& errors) {
  if (!o.file.empty()) {
    for (const char* name : {"kind", "pp", "micro-batches", "virtual-stages"}) {
      if (is_given(args, name))
        errors.push_back(fmt::format("--{} has no effect with --file, which sets it", name));
    }
    return;
  }
  if (o.num_chunks > 1 && !has_virtual_stages(o.kind)) {
    errors.push_back(
        fmt::format("--virtual-stages {} has no effect with --kind {}: it belongs to interleaved",
                    o.num_chunks, to_string(o.kind)));
  }
  const int64_t cells = int64_t{o.num_stages} * o.num_micro_batches * o.num_chunks;
  if (cells > kMostCells) {
    errors.push_back(
        fmt::format("--pp {} x --micro-batches {} x --virtual-stages {} is {}; drawn are up to {}",
                    o.num_stages, o.num_micro_batches, o.num_chunks, cells, kMostCells));
  }
}

}  // namespace

void run_schedule(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  if (asks_for_help(args)) {
    fmt::print("{}", schedule_help());
    return;
  }
  ScheduleOptions options;
  std::vector<std::string> errors;
  const auto alone = parse_plain_arguments("schedule", schedule_options(options), args, errors);
  for (const std::string& argument : alone)
    errors.push_back(fmt::format("unexpected argument '{}'; a schedule file is given by --file", argument));
  if (errors.empty()) check_together(options, args, errors);
  if (!errors.empty()) throw_errors(errors, "schedule");
  run_schedule_command(options, stdout);
}

}  // namespace trireme::launch
