// What a rank can say of its host without the others.
#pragma once

#include <filesystem>
#include <string>

#include "launch/doctor/rank_facts.h"

namespace trireme::launch {

/// `root` has proc/, sys/ and dev/: "/", but in tests.
ShmFacts measure_shm(const std::filesystem::path& root = "/");
LimitFacts measure_limits();
MemoryFacts measure_memory();
RootFacts measure_root();
/// Kernel, processor, C library, and the shared libraries whose versions matter.
TextByName measure_machine();
/// Variables whose names begin like those of MPI, NCCL, CUDA, OpenMP and oneDNN, without what launchers set
/// for themselves.
TextByName measure_environment();
/// kernel.yama.ptrace_scope, and whether this process may trace others all the same.
void measure_ptrace(RankFacts& facts, const std::filesystem::path& root = "/");

/// `threads`: of --threads; 0: as a run would choose.
CoreFacts measure_cores(int threads, int local_size, const std::filesystem::path& root = "/");
/// Of the rank's own device, too; `cores`: those of the rank.
GpuFacts measure_gpu(bool is_unwanted, int local_rank, const CoreFacts& cores,
                     const std::filesystem::path& root = "/");

/// Writes a file of `bytes` there, with fsync, reads it back from the disk, and removes it. Errors are in the
/// result.
DiskFacts measure_disk(const std::filesystem::path& folder, const std::string& purpose, int64_t bytes);

}  // namespace trireme::launch
