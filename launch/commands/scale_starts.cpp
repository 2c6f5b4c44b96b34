#include "launch/commands/scale_starts.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/commands/spin_bound.h"
#include "launch/commands/this_machine.h"
#include "launch/report/number_text.h"
#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_versions.h"

namespace trireme::launch {

Starts find_starts(const ScaleArguments& a, const ThisMachine& machine, const Variables& variables) {
  Starts starts;
  starts.threads = a.cores > 0 ? a.cores : named_threads(a.series.options);
  if (a.submit) return starts;
  StartRequest request{0, 0, a.gpus, {}, a.launcher};
  if (!a.hosts.empty()) request.hosts = read_hosts(a.hosts);
  const auto choose = [&](int cores) {
    starts.choices.clear();
    for (const int ranks : a.series.ranks) {
      request.ranks = ranks;
      request.cores = cores;
      try {
        starts.choices.emplace(ranks, choose_start(request, machine, variables));
      } catch (const UserError& error) {
        starts.refused[ranks] = error.what();
      }
    }
  };
  if (starts.threads == 0) {
    choose(0);
    for (const auto& [ranks, choice] : starts.choices) {
      for (const HostPart& host : choice.placement.hosts) {
        const int each = std::max(1, host.offer.cores / host.num_ranks);
        starts.threads = starts.threads == 0 ? each : std::min(starts.threads, each);
      }
    }
  }
  choose(starts.threads);
  return starts;
}

void apply_starts(const Starts& starts, std::vector<Point>& points) {
  for (Point& point : points) {
    const auto refused = starts.refused.find(point.ranks);
    if (refused != starts.refused.end() && point.left_out.empty()) point.left_out = refused->second;
    const auto choice = starts.choices.find(point.ranks);
    if (choice == starts.choices.end()) continue;
    const Placement& placement = choice->second.placement;
    point.oversubscribed =
        placement.oversubscribed || std::ranges::any_of(placement.hosts, [](const HostPart& host) {
          return host.offer.gpus > 0 && host.num_ranks > host.offer.gpus;
        });
  }
}

std::string launcher_for_all(const ScaleArguments& a, const ThisMachine& machine,
                             const Variables& variables) {
  const auto job = slurm_job(variables);
  if (a.launcher == "auto" && !a.mpirun.empty()) return "mpirun";
  if (a.launcher != "auto" || !a.hosts.empty() || !job || !text_of(variables, "TRIREME_LAUNCHER").empty())
    return a.launcher;
  const bool all_fit = machine.has_pmix && std::ranges::all_of(a.series.ranks, [&](int ranks) {
                         return ranks == job->num_tasks();
                       });
  return all_fit ? "auto" : "mpirun";
}

void check_start(const ScaleArguments& a, const Starts& starts, const Variables& variables) {
  for (const auto& [ranks, choice] : starts.choices) {
    if (choice.starter != Starter::alone) check_built_with_mpi();
    if (choice.starter == Starter::mpirun) check_root(a.allow_root, variables);
    if (choice.starter != Starter::mpirun && !a.mpirun.empty())
      throw_usage("--mpirun '{}' has no effect: runs of {} are started by {}", a.mpirun,
                  counted(ranks, "rank"), starter_name(choice.starter));
    if (choice.starter != Starter::srun && !a.slurm.empty())
      throw_usage(
          "--slurm '{}' has no effect: runs of {} are started by {}, not by srun or sbatch (--submit)",
          a.slurm, counted(ranks, "rank"), starter_name(choice.starter));
  }
}

std::vector<std::string> launch_words(const ScaleArguments& a) {
  std::vector<std::string> words;
  const auto add = [&](const std::string& option, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {option, value});
  };
  add("--hosts", a.hosts);
  if (a.launcher != "auto") add("--launcher", a.launcher);
  add("--mpirun", a.mpirun);
  if (!a.submit) add("--slurm", a.slurm);
  if (a.gpus >= 0) add("--gpus", fmt::to_string(a.gpus));
  if (a.cores > 0) add("--cores", fmt::to_string(a.cores));
  if (a.allow_root) words.emplace_back("--allow-root");
  return words;
}

}  // namespace trireme::launch
