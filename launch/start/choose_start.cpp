#include "launch/start/choose_start.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

std::string plural(int number, const char* what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

/// auto, mpirun or srun: the option's, else the variable's.
std::string wanted_launcher(const StartRequest& request, const Variables& variables) {
  const std::string text = text_of(variables, "TRIREME_LAUNCHER");
  const bool by_variable = request.launcher == "auto" && !text.empty();
  const std::string wanted = by_variable ? text : request.launcher;
  if (wanted != "auto" && wanted != "mpirun" && wanted != "srun")
    throw_usage("{} is '{}'; allowed: auto, mpirun, srun", by_variable ? "TRIREME_LAUNCHER" : "--launcher",
                wanted);
  return wanted;
}

StartChoice start_on_hosts(const StartRequest& request, const ThisMachine& machine) {
  StartChoice choice;
  choice.starter = Starter::mpirun;
  choice.names_hosts = true;
  const int gpus = request.gpus >= 0 ? request.gpus : machine.gpus;
  std::vector<HostOffer> offers;
  for (const HostSlots& host : request.hosts) offers.push_back({host.name, host.slots, machine.cores, gpus});
  choice.placement = place_ranks(offers, request.ranks, request.cores);
  choice.where = fmt::format(
      "{} named, {}, mpirun; cores and GPUs of each as this one has, or as --gpus says",
      plural(static_cast<int>(request.hosts.size()), "host"), plural(choice.placement.num_ranks(), "rank"));
  return choice;
}

StartChoice start_here(const StartRequest& request, const ThisMachine& machine, bool by_mpirun) {
  StartChoice choice;
  HostOffer offer{machine.name, request.ranks, machine.cores,
                  request.gpus >= 0 ? request.gpus : machine.gpus};
  choice.placement = place_ranks({offer}, request.ranks, request.cores);
  const int ranks = choice.placement.num_ranks();
  choice.starter = ranks == 1 && !by_mpirun ? Starter::alone : Starter::mpirun;
  if (choice.starter == Starter::alone) {
    choice.placement.cores_per_rank = 0;
    choice.placement.ranks[0].first_core = -1;
  }
  choice.where = fmt::format(
      "this machine: {}, {}, {}", plural(machine.cores, "core"), plural(offer.gpus, "GPU"),
      choice.starter == Starter::alone ? "one rank by itself" : plural(ranks, "rank") + " by mpirun");
  return choice;
}

std::vector<HostOffer> offers_of(const SlurmJob& job, const StartRequest& request, const ThisMachine& machine,
                                 bool by_mpirun) {
  std::vector<HostOffer> offers;
  for (size_t i = 0; i < job.hosts.size(); ++i) {
    int cores = job.cpus[i] > 0 ? job.cpus[i] : machine.cores;
    // mpirun binds to cores, of which Slurm's processors may be the threads.
    if (by_mpirun) cores = std::min(cores, machine.cores);
    offers.push_back(
        {job.hosts[i].name, job.hosts[i].slots, cores, request.gpus >= 0 ? request.gpus : job.gpus_per_host});
  }
  return offers;
}

StartChoice start_in_job(const SlurmJob& job, const StartRequest& request, const ThisMachine& machine,
                         const std::string& wanted) {
  const int tasks = job.num_tasks(), ranks = request.ranks > 0 ? request.ranks : tasks;
  const bool fits_srun = ranks == tasks;
  const bool by_srun = wanted == "srun" || (wanted == "auto" && machine.has_pmix && fits_srun);
  if (by_srun && !machine.has_pmix) {
    throw_usage(
        "srun of this Slurm has no plugin of PMIx (srun --mpi=list), through which ranks find each other: "
        "use TRIREME_LAUNCHER=mpirun");
  }
  if (by_srun && !fits_srun) {
    throw_usage(
        "--ranks {}: the Slurm job {} has {} tasks, and srun starts all of them: leave --ranks out, ask "
        "sbatch for --ntasks={}, or use TRIREME_LAUNCHER=mpirun",
        ranks, job.id, tasks, ranks);
  }
  StartChoice choice;
  choice.starter = by_srun ? Starter::srun : Starter::mpirun;
  choice.names_hosts = !by_srun;
  choice.knows_tasks = job.has_tasks;
  const int each = request.cores > 0 ? request.cores : job.cpus_per_task;
  choice.placement = place_ranks(offers_of(job, request, machine, !by_srun), ranks, each);
  if (by_srun) choice.cpus_per_task = each > 0 ? each : choice.placement.cores_per_rank;
  choice.where =
      fmt::format("Slurm job {}: {}, {}, {}", job.id, plural(static_cast<int>(job.hosts.size()), "node"),
                  plural(tasks, "task"), starter_name(choice.starter));
  return choice;
}

}  // namespace

StartChoice choose_start(const StartRequest& request, const ThisMachine& machine,
                         const Variables& variables) {
  const std::string wanted = wanted_launcher(request, variables);
  if (request.hosts.empty()) {
    if (const auto job = slurm_job(variables)) return start_in_job(*job, request, machine, wanted);
  }
  if (wanted == "srun") {
    throw_usage("srun starts the tasks of a Slurm job, and {}: use mpirun, or 'trireme launch --submit'",
                request.hosts.empty() ? "this is none" : "--hosts names hosts of your own");
  }
  return request.hosts.empty() ? start_here(request, machine, wanted == "mpirun")
                               : start_on_hosts(request, machine);
}

}  // namespace trireme::launch
