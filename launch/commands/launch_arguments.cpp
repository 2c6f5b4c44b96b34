#include "launch/commands/launch_arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

std::function<std::string(const std::string&)> one_of(std::string& field,
                                                      const std::vector<std::string>& values) {
  return [&field, values](const std::string& text) -> std::string {
    if (std::ranges::find(values, text) == values.end()) return fmt::format("{}", fmt::join(values, ", "));
    field = text;
    return "";
  };
}

std::vector<PlainOption> launch_options(LaunchArguments& a) {
  constexpr int64_t kMost = 1 << 20;
  return {
      {"ranks", "N",
       "ranks to start. By default one a GPU; without GPUs one for each --cores, or --run.threads, cores; of "
       "hosts their slots, of a Slurm job its tasks",
       "as above", whole_into(a.ranks, 1, kMost)},
      {"hosts", "FILE|LIST", "hosts for mpirun: h1:4,h2:4, or a host file with lines 'h1 slots=4'",
       "this machine, or those of the Slurm job", text_into(a.hosts)},
      {"cores", "K", "cores that each rank is bound to", "--run.threads, else the host's, shared equally",
       whole_into(a.cores, 1, kMost)},
      {"gpus", "N", "GPUs of each host, where they are not as on this one; with --submit also asked of Slurm",
       "as on this host", whole_into(a.gpus, 0, 1024)},
      {"launcher", "L",
       "auto, mpirun or srun. auto: in a Slurm job srun, where it has PMIx, else mpirun; TRIREME_LAUNCHER "
       "sets "
       "the same",
       "auto", one_of(a.launcher, {"auto", "mpirun", "srun"})},
      {"mpirun", "EXTRA", "more options for mpirun, in one word: \"--mca btl_tcp_if_include eth0\"", "none",
       text_into(a.mpirun)},
      {"slurm", "EXTRA", "more options for srun or, outside of a job, sbatch, in one word", "none",
       text_into(a.slurm)},
      {"submit", "",
       "outside of a Slurm job: submit cluster/slurm/train.sbatch. Without it, where there is sbatch, its "
       "command is printed",
       "", switch_into(a.submit)},
      {"failed-hosts", "FILE",
       "add hosts whose ranks crashed, hung or lacked resources to FILE; with --submit leave out those that "
       "it "
       "names",
       "none; with --submit failed-hosts.txt", text_into(a.failed_hosts)},
      {"allow-root", "", "let mpirun start ranks as root, as in a container", "", switch_into(a.allow_root)},
      {"dry-run", "", "print which rank lands where, and the command, and exit", "", switch_into(a.dry_run)},
  };
}

}  // namespace

std::vector<std::string> with_joined_extras(std::span<const std::string> args) {
  std::vector<std::string> joined;
  for (const std::string& arg : args) {
    const bool is_extra = !joined.empty() && (joined.back() == "--mpirun" || joined.back() == "--slurm");
    if (is_extra) {
      joined.back() += "=" + arg;
    } else {
      joined.push_back(arg);
    }
  }
  return joined;
}

std::string launch_help() {
  LaunchArguments unused;
  return fmt::format(
      "usage: trireme launch [options] -- train [options of train]\n\n"
      "  trireme launch --ranks 2 -- train --config run.ini            this machine\n"
      "  trireme launch --hosts h1:8,h2:8 --dry-run -- train --config run.ini\n"
      "  trireme launch --submit --slurm \"--nodes=2 --ntasks-per-node=8 --gpus-per-node=8\" -- train "
      "--config "
      "run.ini\n"
      "  trireme launch -- train --config run.ini                      in a Slurm job, of its script too\n\n"
      "Runs mpirun, srun or sbatch as it fits where it is, with each rank bound to its cores, and ends with "
      "the exit\n"
      "code of the job. TERM, INT (Ctrl-C), HUP, USR1 or USR2: all ranks save and stop (exit 75); a second "
      "one "
      "ends\n"
      "them at once. However it ends, none of its processes is left on this host.\n\n{}",
      help_plain(launch_options(unused)));
}

LaunchArguments parse_launch_arguments(std::span<const std::string> args) {
  LaunchArguments a;
  const auto dashes = std::ranges::find(args, "--");
  const std::vector<std::string> own = with_joined_extras({args.begin(), dashes});
  std::vector<std::string> errors;
  for (const std::string& stray : parse_plain_arguments("launch", launch_options(a), own, errors))
    errors.push_back(fmt::format("unexpected argument '{}': what ranks run stands behind --", stray));
  if (dashes != args.end()) a.command.assign(dashes + 1, args.end());
  if (a.command.empty())
    errors.emplace_back("what shall the ranks run? trireme launch [options] -- train [options of train]");
  if (!errors.empty()) throw_errors(errors, "launch");
  return a;
}

}  // namespace trireme::launch
