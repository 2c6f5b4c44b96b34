#include "launch/commands/this_machine.h"

#include <algorithm>

#include <unistd.h>

#include "launch/preflight/thread_advice.h"
#include "launch/start/find_program.h"
#include "launch/start/physical_cores.h"
#include "runtime/base/error.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme::launch {

ThisMachine this_machine(bool in_slurm_job, const Variables& variables) {
  ThisMachine machine;
  char name[256] = "localhost";
  ::gethostname(name, sizeof name - 1);
  machine.name = name;
  const std::string node = text_of(variables, "SLURMD_NODENAME");
  if (in_slurm_job && !node.empty()) machine.name = node;
  machine.cores = num_physical_cores();
  const double quota = cores_given().quota.cores;
  if (quota > 0) machine.cores = std::max(1, std::min(machine.cores, static_cast<int>(quota)));
  machine.gpus = cuda::num_devices();
  if (in_slurm_job) machine.has_pmix = srun_has_pmix();
  return machine;
}

void check_root(bool is_allowed, const Variables& variables) {
  const bool told = !text_of(variables, "OMPI_ALLOW_RUN_AS_ROOT").empty() &&
                    !text_of(variables, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM").empty();
  if (::geteuid() != 0 || told || is_allowed) return;
  throw_usage(
      "mpirun starts no ranks as root: where that is meant, as in a container, --allow-root (or "
      "OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)");
}

}  // namespace trireme::launch
