// The checks: pure functions of what was measured. `ranks` are all ranks of the job, in order, one or more.
// Each returns one finding or more: OK alone where nothing is wrong.
#pragma once

#include <span>
#include <vector>

#include "launch/doctor/finding.h"
#include "launch/doctor/rank_facts.h"

namespace trireme::launch {

using Findings = std::vector<Finding>;
using AllRanks = std::span<const RankFacts>;

/// The library that is loaded against the one compiled for; thread level; launcher and PMIx.
Findings judge_mpi(AllRanks ranks);
/// Driver, toolkit, runtime and NCCL against each other; GPUs on the bus that nobody sees.
Findings judge_cuda(AllRanks ranks);
/// Ranks that share cores or a GPU, that have one core for several threads or none of their own, and cores
/// far from the rank's GPU.
Findings judge_binding(AllRanks ranks);
/// More threads than cores, other processes, threads that wait actively.
Findings judge_threads(AllRanks ranks);
/// Size of /dev/shm, and what processes that have died left in it.
Findings judge_shm(AllRanks ranks);
/// ulimit.
Findings judge_limits(AllRanks ranks);
/// What is left for each rank.
Findings judge_memory(AllRanks ranks);
/// mpirun's refusal to run as root.
Findings judge_root(AllRanks ranks);
/// Frequency governor and huge pages.
Findings judge_cpu(AllRanks ranks);
/// Whether a debugger may attach to a rank.
Findings judge_ptrace(AllRanks ranks);
/// Rates and room of the directories, and whether all hosts see the same run directory.
Findings judge_disk(AllRanks ranks, std::span<const SharedFacts> shared);
/// Clocks of hosts against each other.
Findings judge_clock(AllRanks ranks, std::span<const ClockFacts> clocks);
/// Variables that make runs slow, other numbers, or hang.
Findings judge_environment(AllRanks ranks);
/// Programs, libraries, kernels, processors that differ: which ranks have which.
Findings judge_hosts(AllRanks ranks);
/// Results of all-reduces, and groups that are slower than others of their axis.
Findings judge_axes(AllRanks ranks, std::span<const AxisFacts> axes);
/// Pairs of hosts that are slower than others.
Findings judge_links(AllRanks ranks, std::span<const LinkFacts> links);

/// All of judge_...(ranks) by its name in check_names(); nothing for those that need more than `ranks`.
Findings judge_local(std::string_view check, AllRanks ranks);

}  // namespace trireme::launch
