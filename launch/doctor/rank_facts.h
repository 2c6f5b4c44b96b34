// What ranks measure of themselves and their hosts: what checks are judged by.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace trireme::launch {

using TextByName = std::map<std::string, std::string>;

/// A limit that is not set, and what could not be read.
constexpr int64_t kUnlimited = -1;

struct MpiFacts {
  std::string built, loaded, thread_level;  ///< as in MpiVersions
  std::string launcher;                     ///< "mpirun", "srun", "another launcher" or "none"
  std::string pmix;                         ///< version that the launcher says; empty: it says none
};

struct GpuFacts {
  bool is_built = false;
  bool is_unwanted = false;                                                   ///< --device cpu
  bool may_share = false;                                                     ///< --share-device
  int toolkit = 0, runtime = 0, driver = 0, nccl_built = 0, nccl_loaded = 0;  ///< as in cuda::Versions
  int num_visible = 0;
  int num_on_bus = 0;         ///< NVIDIA's devices that the PCI bus has
  std::string why_none = {};  ///< why none is visible
  // Of this rank's own device, where one is visible:
  int index = -1;
  std::string name = {}, uuid = {}, bus_id = {};
  int numa_node = -1;      ///< -1: the machine does not say
  int cores_distance = 0;  ///< NUMA distance of the rank's nearest core; 10: the same node; 0: not known
};

struct CoreFacts {
  uint64_t machine_id = 0;   ///< equal for ranks on one machine, whatever its containers are called
  int machine = 1;           ///< cores that it has
  std::vector<int> allowed;  ///< those in the affinity mask
  int numa_nodes = 1;
  int threads = 1;       ///< that a rank computes with
  double quota = 0;      ///< cores that control groups grant; 0: all
  double load = 0;       ///< average of the last minute before the start
  std::string governor;  ///< of the first core; empty: not known
  bool turbo_off = false;
  std::string huge_pages;  ///< "always", "madvise", "never"; empty: not known
};

/// A file in /dev/shm that no process which can be seen from here has open or mapped.
struct StaleSegment {
  std::string path;
  int64_t bytes = 0;
  int64_t age_seconds = 0;
};

struct ShmFacts {
  bool is_there = false;  ///< /dev/shm is a tmpfs
  int64_t bytes = 0, free_bytes = 0;
  std::vector<StaleSegment> stale = {};
};

/// In bytes, or as many as they count; kUnlimited where not limited.
struct LimitFacts {
  int64_t memlock = kUnlimited, nofile = kUnlimited, nproc = kUnlimited, core = kUnlimited,
          file_size = kUnlimited, stack = kUnlimited, address_space = kUnlimited;
  bool has_infiniband = false;
};

struct MemoryFacts {
  int64_t available = 0;  ///< 0: the system does not say
  std::string of;         ///< what limits it: "this machine", "the control group /x"
};

struct RootFacts {
  bool is_root = false;
  bool is_allowed = false;  ///< both of Open MPI's variables say so
};

struct DiskFacts {
  std::string path, purpose;  ///< "run directory", "temporary directory"
  std::string error;          ///< in the system's words; empty: it worked
  std::string type;           ///< "ext4", "nfs"
  int64_t free_bytes = 0;
  int64_t tried_bytes = 0;
  double write_rate = 0, read_rate = 0;  ///< bytes a second; the first with fsync
};

struct RankFacts {
  int rank = 0;
  std::string host;
  int local_rank = 0, local_size = 1;
  TextByName build;        ///< program, compiler, libraries: ranks must agree on these
  TextByName machine;      ///< kernel, processor, libraries that are loaded: better they did
  TextByName environment;  ///< variables that change speed, numbers or who talks to whom
  MpiFacts mpi;
  GpuFacts gpu;
  CoreFacts cores;
  ShmFacts shm;
  LimitFacts limits;
  MemoryFacts memory;
  RootFacts root;
  int ptrace_scope = -1;         ///< kernel.yama.ptrace_scope; -1: this kernel has none
  bool may_ptrace = false;       ///< CAP_SYS_PTRACE
  std::vector<DiskFacts> disks;  ///< of the first rank of a host
};

/// The clock of a host against that of rank 0, by Cristian's method.
struct ClockFacts {
  int rank = 0;
  double offset = 0;  ///< seconds that it is ahead
  double bound = 0;   ///< the offset is right to this: half of the shortest round trip
};

/// What the run directory's shared file looked like from a host.
struct SharedFacts {
  std::string path;
  std::vector<int> missing;  ///< ranks, of those that looked, that did not find it
};

/// A checked all-reduce of one group of an axis.
struct AxisFacts {
  std::string axis;          ///< "data", "tensor", ...
  std::string backend;       ///< "mpi", "nccl"
  std::vector<int> ranks;    ///< of the world
  int64_t bytes = 0;         ///< of the large one
  double latency = 0;        ///< seconds of one of 8 bytes
  double bus_bandwidth = 0;  ///< bytes a second, as nccl-tests counts
  std::vector<int> wrong;    ///< ranks of the world that got a wrong result
  int64_t num_wrong = 0;     ///< elements
};

/// The first ranks of two hosts, one message at a time.
struct LinkFacts {
  int a = 0, b = 0;      ///< ranks
  double latency = 0;    ///< seconds, one way
  double bandwidth = 0;  ///< bytes a second
  int64_t num_wrong = 0;
};

/// As JSON text, and back. Of another build what it does not know stays as it is.
std::string to_text(const RankFacts& facts);
RankFacts rank_facts_of(const std::string& text);

}  // namespace trireme::launch
