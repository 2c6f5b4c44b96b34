#include <algorithm>
#include <cstdio>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/scale_arguments.h"
#include "launch/commands/scale_starts.h"
#include "launch/commands/this_machine.h"
#include "launch/process/build_info.h"
#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "launch/scale/run_series.h"
#include "launch/scale/scale_page.h"
#include "launch/scale/tables.h"
#include "launch/start/find_program.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/io/digest/file_digest.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

std::string layout_of(const ParallelPlan& plan) {
  std::string text;
  const auto add = [&](const char* axis, int64_t size) {
    if (size > 1) text += fmt::format("{}{} {}", text.empty() ? "" : " x ", axis, size);
  };
  add("dp", plan.data);
  add("tp", plan.tensor);
  add("pp", plan.pipeline);
  add("cp", plan.context);
  add("ep", plan.expert);
  return text.empty() ? "one rank" : text;
}

/// What runs of the series are given beside the options of their points.
std::vector<std::string> short_run_options(const ScaleArguments& a, int threads) {
  const int64_t steps = a.steps + a.warmup;
  std::vector<std::string> options = {"--train.steps",         fmt::to_string(steps),
                                      "--train.log-every",     fmt::to_string(a.warmup),
                                      "--train.eval-every",    "0",
                                      "--train.sample-tokens", "0",
                                      "--optimizer.warmup",    fmt::to_string(steps - 1)};
  const bool saves = std::ranges::any_of(
      a.series.options, [](const std::string& word) { return word.starts_with("--checkpoint."); });
  if (!saves) options.insert(options.end(), {"--checkpoint.keep", "0"});
  if (!a.submit) options.insert(options.end(), {"--run.resume", "never"});
  if (threads > 0) options.insert(options.end(), {"--run.threads", fmt::to_string(threads)});
  return options;
}

/// Parses the options as the ranks will.
CheckOptions checked_by_parser(const std::vector<std::string>& run_options) {
  return [run_options](const std::vector<std::string>& options, int ranks) {
    const ArgumentRules rules{"train", all_options(), {}, true};
    std::vector<std::string> words = options;
    words.insert(words.end(), run_options.begin(), run_options.end());
    const RunConfig config = parse_run_arguments(rules, words, ranks).config;
    PointFacts facts{config.train.global_batch, config.tokens_per_step(), layout_of(config.parallel), {}};
    if (!config.data.valid_tokens.empty() || config.data.valid_fraction > 0)
      facts.more_options = {"--train.eval-batches", "1"};
    return facts;
  };
}

/// By what a series is known again.
nlohmann::ordered_json identity_of(const ScaleArguments& a, const SeriesRuns& runs) {
  std::vector<std::string> sweeps;
  for (const Sweep& sweep : a.series.sweeps)
    sweeps.push_back(fmt::format("{}={}", sweep.key, fmt::join(sweep.values, ";")));
  nlohmann::ordered_json identity = {{"version", build_info().version},
                                     {"program", to_string(digest_file(runs.program))},
                                     {"mode", to_string(a.series.mode)},
                                     {"ranks", a.series.ranks},
                                     {"sweep", sweeps},
                                     {"repeat", a.repeat},
                                     {"steps", a.steps},
                                     {"warmup", a.warmup},
                                     {"options of train", a.series.options},
                                     {"start", runs.start},
                                     {"options of runs", runs.run_options}};
  if (a.submit) identity["submit"] = runs.slurm;
  for (size_t i = 0; i + 1 < a.series.options.size(); ++i) {
    if (a.series.options[i] == "--config")
      identity["configuration file"] = to_string(digest_file(a.series.options[i + 1]));
  }
  return identity;
}

SeriesFacts facts_of(const ScaleArguments& a, const ThisMachine& machine, int threads) {
  const bool is_weak = a.series.mode == ScaleMode::weak;
  SeriesFacts facts = {
      {"scaling", is_weak ? "weak: the batch of a rank is constant, the global batch grows with the ranks"
                          : "strong: the global batch is constant"},
      {"runs", fmt::format("{} of each point, {} after {} of warm-up", counted(a.repeat, "run"),
                           counted(a.steps, "step"), a.warmup)},
      {"program", build_line()},
      {a.submit ? "submitted by" : "machine",
       fmt::format("{}: {} ({}), {}{}", machine.name, cpu::processor_name(), cpu::matrix_isa(),
                   counted(machine.cores, "core"),
                   machine.gpus > 0 ? ", " + counted(machine.gpus, "GPU") : std::string())}};
  if (!a.hosts.empty()) facts.emplace_back("hosts", a.hosts);
  if (threads > 0)
    facts.emplace_back("threads", fmt::format("{} in every run", counted(threads, "thread") + " a rank"));
  facts.emplace_back("options", fmt::format("{}", fmt::join(a.series.options, " ")));
  return facts;
}

void print_dry_run(const SeriesRuns& runs, const std::string& directory, int repeats) {
  int number = 0;
  for (size_t i = 0; i < runs.points.size(); ++i) {
    const Point& point = runs.points[i];
    if (!point.left_out.empty()) continue;
    ++number;
    fmt::print("{}\n", shell_text(run_command(runs, point, run_directory(directory, i, point.ranks, 0))));
  }
  fmt::print("\n{} x {} = {}\n", counted(number, "point"), counted(repeats, "repeat"),
             counted(int64_t{number} * repeats, "run"));
}

/// An error where there is nothing to run: the reasons are the user's.
void check_any(const std::vector<Point>& points) {
  const bool any = std::ranges::any_of(points, [](const Point& point) { return point.left_out.empty(); });
  if (any) return;
  throw_usage("no point of the series can be run; at {}: {}", counted(points.front().ranks, "rank"),
              points.front().left_out);
}

void write_results(const std::string& directory, const SeriesResult& series, const SeriesFacts& facts,
                   const std::vector<RunOutcome>& outcomes) {
  FileCalls calls;
  replace_file(calls, directory + "/scale.csv", csv_report(series));
  replace_file(calls, directory + "/scale.json", json_report(series, facts, outcomes));
  replace_file(calls, directory + "/scale.html", html_report(series, facts));
}

/// The exit code of the first run that failed; 0: none has.
int failure_code(const std::vector<RunOutcome>& outcomes) {
  for (const RunOutcome& outcome : outcomes) {
    if (outcome.code != 0) return outcome.code;
  }
  return 0;
}

[[noreturn]] void end_stopped(const SeriesEnd& end, size_t done, size_t all, const std::string& directory) {
  fmt::print(stderr,
             "trireme: {}: {} of {} runs are done. The same command goes on with those that are missing; "
             "results so far are in {}\n",
             signal_name(end.signal), done, all, directory);
  throw PassedOn{end.was_cut ? static_cast<ExitCode>(128 + end.signal) : ExitCode::resumable};
}

}  // namespace

void run_scale(std::span<const std::string> args, const RankPlace&) {
  const auto dashes = std::ranges::find(args, "--");
  if (args.empty() || asks_for_help({args.begin(), dashes})) {
    fmt::print("{}", scale_help());
    return;
  }
  ScaleArguments a = parse_scale_arguments(args);
  const Variables variables = own_variables();
  const bool in_job = slurm_job(variables).has_value();
  if (a.submit && in_job)
    throw_usage("--submit: this is a Slurm job already ({}): leave it out, and runs are made in this one",
                text_of(variables, "SLURM_JOB_ID"));
  if (!a.submit && !in_job && a.hosts.empty() && a.launcher != "mpirun" && has_slurm())
    throw_usage(
        "this host submits to Slurm: --submit makes a job of each run, --launcher mpirun runs them here");
  const ThisMachine machine = this_machine(in_job, variables);
  a.launcher = launcher_for_all(a, machine, variables);
  const Starts starts = find_starts(a, machine, variables);
  check_start(a, starts, variables);
  SeriesRuns runs;
  runs.run_options = short_run_options(a, starts.threads);
  runs.points = plan_points(a.series, checked_by_parser(runs.run_options));
  apply_starts(starts, runs.points);
  check_any(runs.points);
  runs.repeats = a.repeat;
  runs.warmup = a.warmup;
  runs.program = own_program();
  runs.start = launch_words(a);
  runs.submits = a.submit;
  if (a.submit) runs.slurm = split_words(a.slurm, "--slurm");
  runs.variables = without_place(variables);
  const SeriesFacts facts = facts_of(a, machine, starts.threads);
  SeriesResult empty = summarise(a.series.mode, runs.points, {}, a.repeat);
  const TextTable left_out = left_out_table(empty);
  if (!left_out.rows.empty()) fmt::print("{}\n", aligned(left_out));
  if (a.dry_run) return print_dry_run(runs, a.dir, a.repeat);
  empty.missing = 0;
  for (const std::string& warning : warnings_of(empty)) fmt::print("WARNING: {}\n\n", warning);
  const SeriesStore store(a.dir, identity_of(a, runs));
  const SeriesEnd end = run_series(runs, store, stdout);
  const SeriesResult series = summarise(a.series.mode, runs.points, end.outcomes, a.repeat);
  write_results(store.directory(), series, facts, end.outcomes);
  const size_t all = series.results.size() * static_cast<size_t>(a.repeat);
  if (end.signal != 0) end_stopped(end, end.outcomes.size(), all, store.directory());
  fmt::print("\n{}\n{}/scale.html, scale.csv, scale.json\n", terminal_report(series, facts),
             store.directory());
  if (const int code = failure_code(end.outcomes); code != 0) throw PassedOn{static_cast<ExitCode>(code)};
}

}  // namespace trireme::launch
