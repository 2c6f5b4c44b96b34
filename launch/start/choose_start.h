// How a job is started, given where this process is: on one machine, with hosts to reach, in a Slurm job.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/start/hosts.h"
#include "launch/start/job_command.h"
#include "launch/start/slurm_job.h"
#include "launch/start/variables.h"

namespace trireme::launch {

/// What people ask for; 0 and empty: nothing.
struct StartRequest {
  int ranks = 0;
  int cores = 0;  ///< of a rank
  int gpus = -1;  ///< of each host; -1: as this one has, or as Slurm says
  std::vector<HostSlots> hosts = {};
  std::string launcher = "auto";  ///< auto, mpirun or srun
};

struct ThisMachine {
  std::string name = "localhost";
  int cores = 1;  ///< that ranks may be bound to
  int gpus = 0;
  bool has_pmix = false;  ///< srun has a plugin of PMIx
};

struct StartChoice {
  Starter starter = Starter::alone;
  Placement placement = {};
  bool names_hosts = false;
  bool knows_tasks = true;
  int cpus_per_task = 0;
  std::string where = {};  ///< a sentence: "Slurm job 17: 2 nodes, 8 tasks, srun"
};

/// In a Slurm job (variables of one, and no hosts asked for): srun where it has PMIx and the ranks are the
/// job's tasks, else mpirun; `launcher`, or the variable TRIREME_LAUNCHER, decides otherwise. Else mpirun on
/// the hosts, or on this machine; a single rank on this machine is started without it. UserError (usage)
/// that says what would work where the wishes do not fit each other.
StartChoice choose_start(const StartRequest& request, const ThisMachine& machine, const Variables& variables);

}  // namespace trireme::launch
