// Ranks of a job in which nothing is wrong, to be spoilt.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "launch/doctor/judge.h"
#include "launch/doctor/rank_facts.h"

namespace trireme::test {

using launch::RankFacts;

/// `num_hosts` machines of 16 cores in two NUMA nodes and two GPUs, with two ranks each, bound to half of the
/// cores and a GPU.
inline std::vector<RankFacts> healthy_ranks(int num_hosts) {
  std::vector<RankFacts> ranks;
  for (int i = 0; i < 2 * num_hosts; ++i) {
    RankFacts rank;
    rank.rank = i;
    rank.host = fmt::format("h{}", i / 2 + 1);
    rank.local_rank = i % 2;
    rank.local_size = 2;
    rank.build = {{"program", "1234 bytes, hash 1"}, {"version", "0.1.0"}};
    rank.machine = {{"kernel", "6.1"}, {"processor", "X"}};
    rank.mpi = {"Open MPI 4.1.4", "Open MPI 4.1.4", "multiple", "mpirun", "3.2"};
    rank.gpu = {.is_built = true,
                .toolkit = 13000,
                .runtime = 13000,
                .driver = 13000,
                .nccl_built = 22809,
                .nccl_loaded = 22809,
                .num_visible = 2,
                .num_on_bus = 2,
                .index = i % 2,
                .name = "H100",
                .uuid = fmt::format("gpu{}", i),
                .bus_id = "0000:01:00.0",
                .numa_node = i % 2,
                .cores_distance = 10};
    rank.cores.machine_id = static_cast<uint64_t>(i / 2 + 1);
    rank.cores.machine = 16;
    for (int core = 0; core < 8; ++core) rank.cores.allowed.push_back(i % 2 * 8 + core);
    rank.cores.numa_nodes = 2;
    rank.cores.threads = 8;
    rank.cores.governor = "performance";
    rank.cores.huge_pages = "madvise";
    rank.shm = {.is_there = true, .bytes = int64_t{8} << 30, .free_bytes = int64_t{8} << 30};
    rank.limits.nofile = 1 << 20;
    rank.memory = {int64_t{64} << 30, "this machine"};
    rank.root = {true, true};
    rank.ptrace_scope = 1;
    rank.may_ptrace = true;
    if (rank.local_rank == 0)
      rank.disks = {{"/runs", "run directory", "", "nfs", int64_t{100} << 30, int64_t{1} << 20, 1e9, 2e9}};
    ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace trireme::test
