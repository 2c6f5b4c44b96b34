// What this machine has for ranks.
#pragma once

#include "launch/start/choose_start.h"

namespace trireme::launch {

/// Its name, as Slurm knows it in a job of Slurm, the cores that ranks may be bound to (within a quota of a
/// control group), GPUs and, in a job, whether srun has PMIx.
ThisMachine this_machine(bool in_slurm_job, const Variables& variables);

/// Open MPI starts nothing as root unless it is told twice: UserError (usage) where this process is root and
/// neither `is_allowed` nor the variables say so.
void check_root(bool is_allowed, const Variables& variables);

}  // namespace trireme::launch
