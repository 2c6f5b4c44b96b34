// Programs and files beside this one.
#pragma once

#include <string>

namespace trireme::launch {

/// The file of this process.
std::string own_program();

/// Whether PATH has a program of that name.
bool is_in_path(const std::string& name);

/// Whether this host submits to a Slurm cluster: it has sbatch, and a configuration of Slurm (SLURM_CONF, or
/// in one of its usual places).
bool has_slurm();

/// Whether `srun --mpi=list` names pmix.
bool srun_has_pmix();

/// cluster/slurm/train.sbatch of the sources that `program` was built from, or as it was installed with it.
/// UserError (usage) that says where it was looked for.
std::string find_batch_script(const std::string& program);

}  // namespace trireme::launch
