// Default threads per rank, and a warning if the ranks of a host use more than it has.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/device/cpu/cpu_quota.h"

namespace trireme::launch {

/// What a process may compute on.
struct CoresGiven {
  int machine = 1;      ///< cores of the machine
  int allowed = 1;      ///< of those, in the affinity mask
  cpu::CpuQuota quota;  ///< of the control groups, shared with whatever else is in them

  bool is_bound() const { return allowed < machine; }
};
CoresGiven cores_given();

/// Default threads of a rank: the cores that it is bound to, else its share of
/// the host's; no more than its share of the quota, whole cores of it; at least 1.
int default_threads(const CoresGiven& cores, int local_ranks);

/// Whether threads must take turns where each of `local_ranks` ranks of the host has `threads`.
bool is_oversubscribed(const CoresGiven& cores, int local_ranks, int threads);

/// The ranks of one machine, and what they may compute on together.
struct HostThreads {
  uint64_t host = 0;  ///< of this boot of this machine
  int first_rank = 0;
  int num_ranks = 0;
  int threads = 0;   ///< of all of them
  int machine = 0;   ///< its cores
  int allowed = 0;   ///< cores in the affinity mask of any of them
  double quota = 0;  ///< in cores; 0: none

  /// The cores that those ranks have at the most.
  double cores() const { return quota > 0 && quota < allowed ? quota : allowed; }
};

/// What a rank says of itself, as it travels.
struct RankThreads {
  uint64_t host = 0;
  int32_t threads = 0;
  int32_t machine = 0;
  double quota = 0;
  std::array<uint64_t, 16> mask = {};  ///< a bit a core
};
RankThreads rank_threads(int threads);

/// By host, in the order of their first ranks; `ranks` are those of the world in order.
std::vector<HostThreads> host_threads(std::span<const RankThreads> ranks);

/// One sentence a host whose ranks ask for more threads than they have cores, with the numbers and what to
/// set; empty: none does. Of many hosts the first that does, and how many others do.
std::string thread_warning(std::span<const HostThreads> hosts);

}  // namespace trireme::launch
