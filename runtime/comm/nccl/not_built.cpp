// Stands in for the NCCL communicator in a program built without it.
#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme {

std::unique_ptr<Communicator> make_nccl_world(std::unique_ptr<Communicator>, Device, const NcclOptions&) {
  throw_environment("no NCCL: {}", cuda::why_no_device());
}

}  // namespace trireme
