#include "runtime/comm/mpi/mpi_error.h"

#include <mpi.h>

#include "runtime/base/error.h"

namespace trireme::mpi {

void check(int code, const char* call, std::string_view communicator, int rank) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw_environment("{} on communicator '{}', rank {}: {}", call, communicator, rank,
                    std::string_view(text, static_cast<size_t>(length)));
}

}  // namespace trireme::mpi
