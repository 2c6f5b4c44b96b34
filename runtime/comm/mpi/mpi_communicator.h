// Ranks as processes, through MPI.
#pragma once

#include <memory>

#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme {

/// All ranks of MPI_COMM_WORLD on a duplicate of it. See MpiEnvironment::make_world.
///
/// Asynchronous collectives are blocking MPI calls on a thread of the communicator's own, and progress by
/// themselves. Messages are MPI_Isend and MPI_Irecv: long ones progress while any thread of the process is
/// inside MPI, at the latest in Work::wait(). All-reduce of f32, f64 and integers is MPI_Allreduce, whose
/// order of summation belongs to MPI; reduce_scatter and the half types sum in the order of the ranks.
/// Tensors of a device travel through pinned memory of the host (HostStaging), whatever the MPI can do with
/// them.
std::unique_ptr<Communicator> make_mpi_world(const MpiOptions& options);

}  // namespace trireme
