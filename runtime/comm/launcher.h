// What the environment says about how this process was started; no MPI call.
#pragma once

namespace trireme {

/// True when mpirun, or srun with an MPI plugin, started this process: MPI finds the other ranks.
bool launched_under_mpi();

/// Throws UserError, with the fix, when a launcher started several tasks and each of them would train alone:
/// `num_ranks` is 1 (MPI's world, or a process that does not use MPI), and the launcher's variables say more.
void check_launcher(int num_ranks);

}  // namespace trireme
