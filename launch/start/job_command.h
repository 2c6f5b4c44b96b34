// The command line that starts the ranks of a job.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/start/placement.h"

namespace trireme::launch {

enum class Starter {
  alone,   ///< the program itself: one rank
  mpirun,  ///< Open MPI's
  srun,    ///< of Slurm, in an allocation
};
std::string starter_name(Starter starter);

struct JobCommand {
  Starter starter = Starter::alone;
  std::vector<std::string> program;  ///< of a rank, with its arguments
  Placement placement = {};
  bool names_hosts = false;                 ///< mpirun: the hosts are others than this one alone
  bool allows_root = false;                 ///< mpirun
  std::vector<std::string> passed_on = {};  ///< mpirun: variables for ranks on other hosts
  bool knows_tasks = true;  ///< srun: the allocation has tasks, else a number for each node is passed
  int cpus_per_task = 0;    ///< srun: 0: as the allocation has it
  std::vector<std::string> extra = {};  ///< options of mpirun or srun, passed as they are
};

/// The words of the command. mpirun binds each rank to its cores (--map-by slot:PE=K --bind-to core), or to
/// none where there are fewer cores than ranks. srun has its tasks in blocks a node, joined by PMIx, and ends
/// all of them when one fails.
std::vector<std::string> command_words(const JobCommand& job);

struct BatchCommand {
  std::string script;
  std::vector<std::string> extra;      ///< options of sbatch, passed as they are
  std::vector<std::string> excluded;   ///< hosts
  std::vector<std::string> arguments;  ///< of trireme train
  int num_ranks = 0;                   ///< 0: as `extra` and the script say
  int ranks_per_node = 0;              ///< 0: as above
  int cores_per_rank = 0;              ///< 0: as above
  int gpus_per_node = 0;               ///< 0: none are asked for
};
std::vector<std::string> batch_words(const BatchCommand& batch);

/// The words as a shell takes them.
std::string shell_text(std::span<const std::string> words);

/// A text as a shell would split it: words between blanks, with '...', "..." and backslashes. UserError
/// (usage) where a quote does not end; `option` is named in it.
std::vector<std::string> split_words(const std::string& text, const std::string& option);

}  // namespace trireme::launch
