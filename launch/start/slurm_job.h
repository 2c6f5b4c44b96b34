// The allocation of a Slurm job, from the variables that its script, or a shell of salloc, has.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/start/hosts.h"
#include "launch/start/variables.h"

namespace trireme::launch {

/// "n[1-3,07],login2" as names; several brackets a name are allowed. UserError (usage) where it is no node
/// list.
std::vector<std::string> expand_node_list(const std::string& list);

/// "4(x2),3" is 4, 4, 3. UserError (usage) where it is none.
std::vector<int> expand_counts(const std::string& counts);

struct SlurmJob {
  std::string id;
  std::vector<HostSlots> hosts;  ///< with the tasks of each
  bool has_tasks = false;        ///< tasks were asked for (--ntasks, --ntasks-per-node)
  std::vector<int> cpus;         ///< of each host, allocated
  int cpus_per_task = 0;         ///< 0: not asked for
  int gpus_per_host = 0;         ///< of the host that this runs on
  int num_tasks() const;
};

/// Nothing where the variables are of no job. Where no tasks were asked for a host has a task a GPU, and
/// without GPUs one. UserError (usage) for variables that do not fit each other.
std::optional<SlurmJob> slurm_job(const Variables& variables);

}  // namespace trireme::launch
