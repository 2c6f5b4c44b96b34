// Facts as JSON: for the report, and for their way from rank to rank.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/doctor/rank_facts.h"

namespace trireme::launch {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(MpiFacts, built, loaded, thread_level, launcher, pmix)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(GpuFacts, is_built, is_unwanted, may_share, toolkit, runtime,
                                                driver, nccl_built, nccl_loaded, num_visible, num_on_bus,
                                                why_none, index, name, uuid, bus_id, numa_node,
                                                cores_distance)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(CoreFacts, machine_id, machine, allowed, numa_nodes, threads,
                                                quota, load, governor, turbo_off, huge_pages)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(StaleSegment, path, bytes, age_seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ShmFacts, is_there, bytes, free_bytes, stale)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(LimitFacts, memlock, nofile, nproc, core, file_size, stack,
                                                address_space, has_infiniband)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(MemoryFacts, available, of)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(RootFacts, is_root, is_allowed)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(DiskFacts, path, purpose, error, type, free_bytes,
                                                tried_bytes, write_rate, read_rate)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(RankFacts, rank, host, local_rank, local_size, build, machine,
                                                environment, mpi, gpu, cores, shm, limits, memory, root,
                                                ptrace_scope, may_ptrace, disks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ClockFacts, rank, offset, bound)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SharedFacts, path, missing)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(AxisFacts, axis, backend, ranks, bytes, latency,
                                                bus_bandwidth, wrong, num_wrong)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(LinkFacts, a, b, latency, bandwidth, num_wrong)

}  // namespace trireme::launch
