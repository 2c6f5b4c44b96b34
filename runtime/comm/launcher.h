// What the environment says about how this process was started; no MPI call.
#pragma once

#include <string>

namespace trireme {

/// True when mpirun, or srun with an MPI plugin, started this process: MPI finds the other ranks. A step of
/// Slurm with one task and without PMIx is a process by itself.
bool launched_under_mpi();

/// This process's number among those that a launcher started together; 0: none did.
int launched_rank();

/// Throws UserError, with the fix, when a launcher started several tasks and each of them would train alone:
/// `num_ranks` is 1 (MPI's world, or a process that does not use MPI), and the launcher's variables say more.
/// The launchers: Open MPI's mpirun, those of MPICH's family and MVAPICH, Slurm, Flux, IBM's jsrun, torchrun.
void check_launcher(int num_ranks);

/// For an MPI that is joined through PMIx (Open MPI), before it starts: throws UserError, with the fix, when
/// srun started several tasks with another plugin or none. MPI itself would end such a process, or leave it
/// alone.
void check_plugin();

/// For a command that trains or measures together: throws UserError, with the fix, when this process is the
/// script of a Slurm job of several tasks itself, and no step of it.
void check_batch_script();

/// For a command that starts the ranks itself: throws UserError when a launcher started several of it.
/// `command` is what people type: "trireme launch".
void check_started_once(const std::string& command);

}  // namespace trireme
