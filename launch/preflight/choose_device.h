// Chooses the device and backend of a rank.
#pragma once

#include <string>

#include "launch/config/run_config.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch {

struct DeviceChoice {
  Device device;
  bool is_shared = false;   ///< some GPU of the job is used by several ranks
  bool has_slices = false;  ///< some rank has a part of a GPU (a MIG instance)
};

/// The number of a rank's device: the only one that it sees, else that of its rank among the host's; ranks
/// beyond the last device wrap around.
int device_index(int local_rank, int num_visible);

/// What run.device means for this rank. All ranks of `world` call it, on tensors of the host. UserError
/// (usage) with one text on all ranks: no device is there, some ranks have one and others none, or several
/// ranks would use one device and run.share_device does not allow it, or that or run.cuda_graph is set and
/// nobody has one.
DeviceChoice choose_device(const RunOptions& run, Communicator& world, int local_rank);

/// automatic made plain: nccl where ranks have whole GPUs of their own, mpi between other ranks (NCCL
/// connects no two MIG instances of a GPU), self for a rank alone. UserError (usage) for nccl without a GPU,
/// for mpi where steps are to be CUDA graphs, and for settings of NCCL's where another carries tensors.
BackendKind choose_backend(const RunOptions& run, const DeviceChoice& choice, int world_size);

/// "cpu: Intel Xeon, amx-bf16", "cuda:0: NVIDIA H100, 80 GiB".
std::string device_text(Device device);

}  // namespace trireme::launch
