#include <algorithm>
#include <cstdio>
#include <vector>

#include <fmt/format.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/launch_arguments.h"
#include "launch/commands/spin_bound.h"
#include "launch/commands/this_machine.h"
#include "launch/start/choose_start.h"
#include "launch/start/failed_hosts.h"
#include "launch/start/find_program.h"
#include "launch/start/rank_coordinates.h"
#include "launch/start/supervise.h"
#include "runtime/comm/mpi/mpi_versions.h"

namespace trireme::launch {

namespace {

/// The layout of a training run of so many ranks, whose options are checked by that; nothing for other
/// commands.
std::vector<Coordinates> coordinates_of(const std::vector<std::string>& command, int num_ranks) {
  if (command[0] != "train") return {};
  const ArgumentRules rules{"train", all_options(), {"dry-run"}, true};
  const std::vector<std::string> options(command.begin() + 1, command.end());
  try {
    return rank_coordinates(parse_run_arguments(rules, options, num_ranks).config.parallel);
  } catch (const UserError& error) {
    throw UserError(error.code(),
                    fmt::format("{}\nchecked for {}; others: trireme launch --ranks N", error.what(),
                                num_ranks == 1 ? "1 rank" : fmt::format("{} ranks", num_ranks)));
  }
}

void check_command(const std::vector<std::string>& command) {
  for (const Command& one : commands()) {
    if (one.name == command[0] && !starts_ranks(one.name)) return;
  }
  throw_usage("'{}' behind -- is no command that ranks run: -- train [options of train]", command[0]);
}

JobCommand job_of(const LaunchArguments& a, const StartChoice& choice, const std::string& program,
                  const Variables& variables) {
  JobCommand job{choice.starter, {program}, choice.placement};
  job.names_hosts = choice.names_hosts;
  job.knows_tasks = choice.knows_tasks;
  job.cpus_per_task = choice.cpus_per_task;
  job.allows_root = a.allow_root;
  if (choice.names_hosts) job.passed_on = for_other_hosts(variables);
  job.program.insert(job.program.end(), a.command.begin(), a.command.end());
  if (choice.starter != Starter::mpirun && !a.mpirun.empty())
    throw_usage("--mpirun '{}' has no effect: ranks are started {}", a.mpirun,
                choice.starter == Starter::srun ? "by srun (--launcher mpirun)"
                                                : "by themselves (--launcher mpirun)");
  if (choice.starter != Starter::srun && !a.slurm.empty())
    throw_usage("--slurm '{}' has no effect: ranks are started by {} here, not by srun or sbatch", a.slurm,
                starter_name(choice.starter));
  if (choice.starter != Starter::alone) check_built_with_mpi();
  if (choice.starter == Starter::mpirun) check_root(a.allow_root, variables);
  const bool by_srun = choice.starter == Starter::srun;
  job.extra = by_srun ? split_words(a.slurm, "--slurm") : split_words(a.mpirun, "--mpirun");
  // Slurm may give a task some of the host's cores without binding it to them.
  const std::span<const std::string> options = std::span(a.command).subspan(1);
  if (by_srun && a.command[0] == "train" && choice.cpus_per_task > 0 && named_threads(options) == 0)
    job.program.insert(job.program.end(), {"--run.threads", fmt::to_string(choice.cpus_per_task)});
  return job;
}

void print_plan(const StartChoice& choice, const JobCommand& job,
                const std::vector<Coordinates>& coordinates) {
  fmt::print("{}\n{}\n{}\n", choice.where, placement_table(choice.placement, coordinates),
             shell_text(command_words(job)));
}

/// What people should know before the ranks begin; nothing for most.
void print_start_notes(const StartChoice& choice) {
  const Placement& placement = choice.placement;
  const auto counted = [](int number, const char* what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
  };
  for (const HostPart& host : placement.hosts) {
    const HostOffer& offer = host.offer;
    if (placement.oversubscribed && host.num_ranks > offer.cores) {
      fmt::print(stderr, "note: {} on {} of {}: cores are oversubscribed, and no rank is bound\n",
                 counted(host.num_ranks, "rank"), counted(offer.cores, "core"), offer.name);
    }
    if (offer.gpus > 0 && host.num_ranks > offer.gpus) {
      fmt::print(stderr, "note: {} on {} of {}: they share them, which --run.share-device allows\n",
                 counted(host.num_ranks, "rank"), counted(offer.gpus, "GPU"), offer.name);
    }
  }
}

/// Hosts may be named with their domain or without.
int ranks_on(const Placement& placement, const std::string& host) {
  const auto first_name = [](const std::string& name) { return name.substr(0, name.find('.')); };
  for (const HostPart& part : placement.hosts) {
    const std::string& name = part.offer.name;
    if (name == "localhost" || name == host || first_name(name) == first_name(host)) return part.num_ranks;
  }
  return placement.hosts.size() == 1 ? placement.num_ranks() : 0;
}

/// Notes the host of the rank that failed, and says what no rank has said.
void report_failure(const LaunchArguments& a, const SupervisedEnd& end, const StartChoice& choice,
                    const Variables& variables) {
  if (end.signal != 0 || end.code == 0 || end.code == static_cast<int>(ExitCode::resumable)) return;
  RankFailure failure = end.failure.value_or(RankFailure{});
  const auto& ranks = choice.placement.ranks;
  if (failure.host.empty() && failure.rank >= 0 && failure.rank < static_cast<int>(ranks.size())) {
    const RankSpot& spot = ranks[static_cast<size_t>(failure.rank)];
    failure.host = choice.placement.hosts[static_cast<size_t>(spot.host)].offer.name;
  }
  if (!a.failed_hosts.empty() && !failure.host.empty() && may_be_of_host(end.code, failure.cause)) {
    add_failed_host(a.failed_hosts, {failure.host, text_of(variables, "SLURM_JOB_ID"), end.code, failure.rank,
                                     failure.cause});
  }
  if (end.has_error) return;
  const std::string who = failure.rank >= 0 ? fmt::format("rank {}", failure.rank) : std::string("the job");
  fmt::print(stderr, "trireme: error: {}{} ended with exit code {}{}\n", who,
             failure.host.empty() ? "" : " on " + failure.host, end.code,
             failure.cause.empty() ? "" : ": " + failure.cause);
}

[[noreturn]] void run_job(const LaunchArguments& a, const StartChoice& choice, const JobCommand& job,
                          const ThisMachine& machine, const Variables& variables) {
  print_start_notes(choice);
  SupervisedJob supervised{command_words(job), without_place(variables), job.program[0]};
  if (choice.starter != Starter::alone) supervised.num_local_ranks = ranks_on(choice.placement, machine.name);
  if (choice.starter == Starter::srun) supervised.mark = "SLURM_JOB_ID=" + text_of(variables, "SLURM_JOB_ID");
  const SupervisedEnd end = supervise(supervised);
  report_failure(a, end, choice, variables);
  throw PassedOn{static_cast<ExitCode>(end.code)};
}

void submit(LaunchArguments a, const std::string& program, Variables variables) {
  if (a.command[0] != "train") throw_usage("only train is submitted: --submit -- train [options of train]");
  BatchCommand batch;
  batch.script = find_batch_script(program);
  batch.extra = split_words(a.slurm, "--slurm");
  batch.arguments.assign(a.command.begin() + 1, a.command.end());
  batch.num_ranks = a.ranks;
  batch.cores_per_rank = a.cores;
  batch.gpus_per_node = std::max(0, a.gpus);
  const std::string list = a.failed_hosts.empty() ? "failed-hosts.txt" : a.failed_hosts;
  batch.excluded = read_failed_hosts(list);
  variables["TRIREME"] = program;
  variables["TRIREME_FAILED_HOSTS"] = list;
  const std::vector<std::string> words = batch_words(batch);
  const std::string settings[] = {"TRIREME=" + program, "TRIREME_FAILED_HOSTS=" + list};
  const std::string text = fmt::format("{} {}", shell_text(settings), shell_text(words));
  if (!a.submit || a.dry_run) {
    fmt::print("{}{}\n",
               a.dry_run || a.submit ? ""
                                     : "this host submits to Slurm: run this, or say --submit (--launcher "
                                       "mpirun: ranks on this host)\n",
               text);
    return;
  }
  const SupervisedEnd end = supervise({words, without_place(variables), program});
  throw PassedOn{static_cast<ExitCode>(end.code)};
}

}  // namespace

void run_launch(std::span<const std::string> args, const RankPlace&) {
  const auto dashes = std::ranges::find(args, "--");
  if (args.empty() || asks_for_help({args.begin(), dashes})) {
    fmt::print("{}", launch_help());
    return;
  }
  const LaunchArguments a = parse_launch_arguments(args);
  check_command(a.command);
  const Variables variables = own_variables();
  const std::string program = own_program();
  const bool in_job = slurm_job(variables).has_value();
  const bool stays_here = in_job || !a.hosts.empty() || a.launcher == "mpirun";
  if (a.submit && in_job)
    throw_usage("--submit: this is a Slurm job already ({})", text_of(variables, "SLURM_JOB_ID"));
  if (a.submit || (!stays_here && has_slurm())) return submit(a, program, variables);
  StartRequest request{a.ranks, a.cores, a.gpus, {}, a.launcher};
  if (!a.hosts.empty()) request.hosts = read_hosts(a.hosts);
  if (request.cores == 0) request.cores = named_threads(std::span(a.command).subspan(1));
  const ThisMachine machine = this_machine(in_job, variables);
  const StartChoice choice = choose_start(request, machine, variables);
  const JobCommand job = job_of(a, choice, program, variables);
  const std::vector<Coordinates> coordinates = asks_for_help(a.command)
                                                   ? std::vector<Coordinates>()
                                                   : coordinates_of(a.command, choice.placement.num_ranks());
  if (a.dry_run) {
    print_plan(choice, job, coordinates);
    print_start_notes(choice);
    return;
  }
  run_job(a, choice, job, machine, variables);
}

}  // namespace trireme::launch
