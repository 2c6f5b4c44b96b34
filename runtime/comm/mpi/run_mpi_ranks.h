// main() of a program whose ranks mpirun started.
#pragma once

#include <functional>
#include <string_view>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Starts MPI, runs body(world) on each rank (one, without mpirun), and returns the exit code of the process:
/// 0, or that of the error (1 where it is none of Trireme's). A UserError that all ranks have is said once.
/// Anything else that a rank throws goes to stderr as "PROGRAM: rank R: message" and ends the whole job,
/// since other ranks may wait for it.
int run_mpi_ranks(std::string_view program, const std::function<void(Communicator& world)>& body);

}  // namespace trireme
