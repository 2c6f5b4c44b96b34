// Stands in for the NCCL communicator where it is not part of the program.
#include "runtime/comm/nccl/nccl_communicator.h"

namespace trireme {

std::string why_no_nccl() {
  return "this program has no NCCL communicator; groups run over MPI ('mpi'), threads or one rank ('self')";
}

}  // namespace trireme
