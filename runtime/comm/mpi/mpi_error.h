// From MPI's return codes to exceptions.
#pragma once

#include <string_view>

namespace trireme::mpi {

/// Throws EnvironmentError with MPI's text, the call, the communicator and the rank when `code` is not
/// MPI_SUCCESS.
void check(int code, const char* call, std::string_view communicator, int rank);

}  // namespace trireme::mpi
