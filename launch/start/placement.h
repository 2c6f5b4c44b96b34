// Which rank of a job lands on which host, with which cores and which GPU.
#pragma once

#include <string>
#include <vector>

namespace trireme::launch {

/// A host as it is offered.
struct HostOffer {
  std::string name;
  int slots = 0;  ///< ranks that may run there; 0: as many as it has GPUs, without GPUs as its cores allow
  int cores = 0;  ///< cores that ranks may be bound to; 0: not known
  int gpus = 0;
};

struct HostPart {
  HostOffer offer;
  int num_ranks = 0;
  int first_rank = 0;
};

struct RankSpot {
  int rank = 0;
  int host = 0;  ///< index into Placement::hosts
  int local_rank = 0;
  int first_core = -1;  ///< of the host's, as launchers count them; -1: bound to none
  int gpu = -1;         ///< as the ranks choose it, of those visible on the host; -1: none
};

struct Placement {
  std::vector<HostPart> hosts;  ///< those that have ranks, in the order of these
  std::vector<RankSpot> ranks;
  int cores_per_rank = 0;       ///< 0: no rank is bound
  bool oversubscribed = false;  ///< some host has more ranks than cores

  int num_ranks() const { return static_cast<int>(ranks.size()); }
};

/// Ranks fill one host after the other, each up to its slots. `num_ranks` 0: all slots. `cores_per_rank` 0:
/// what the host with the most ranks to its cores has for each, all of them alike. Where the cores of a host
/// do not suffice for it, no rank is bound. UserError (usage) that names the hosts and their slots where
/// these do not suffice.
Placement place_ranks(const std::vector<HostOffer>& offers, int num_ranks, int cores_per_rank);

/// Coordinates of a rank as a table shows them: by axis its name ("dp") and number.
using Coordinates = std::vector<std::pair<std::string, int>>;

/// The table of a dry run, a line a rank; `coordinates` has those of each rank, or is empty.
std::string placement_table(const Placement& placement, const std::vector<Coordinates>& coordinates);

}  // namespace trireme::launch
