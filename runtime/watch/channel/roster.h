// The processes of a job, as their watchdogs know each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/watch/channel/secret.h"

namespace trireme::watch {

struct Peer {
  int rank = 0;
  std::string host;
  int pid = 0;
  int64_t start_time = 0;              ///< of the process, by which a later one of the same number differs
  uint16_t port = 0;                   ///< where it listens
  std::vector<std::string> addresses;  ///< by which it may be reached, best first
  std::string memory_events;  ///< the file in which its control group counts what was killed for memory
  int64_t memory_kills = 0;   ///< that it counted when the process began
};

struct Roster {
  std::vector<Peer> peers;  ///< by rank
  Secret secret{};

  int size() const { return static_cast<int>(peers.size()); }
  const Peer& of(int rank) const { return peers[static_cast<size_t>(rank)]; }
  bool is_same_host(int one, int other) const { return of(one).host == of(other).host; }
};

/// The ranks that collect what all say of themselves, at most three: the first of those that answer judges.
/// Rank 0; the first rank of another host, so that a host that is gone is named; and the next rank.
std::vector<int> seats_of(const Roster& roster);

}  // namespace trireme::watch
