// Who is to blame that a job does not get on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/watch/rank_report.h"

namespace trireme::watch {

struct Verdict {
  enum class Kind : uint8_t {
    none,         ///< nobody is beyond its limit: a rank that others wait for gets on, or may take longer
    gone,         ///< a process that is there no more
    unreachable,  ///< all ranks of a host
    frozen,       ///< a process that does not answer
    mismatch,     ///< different calls at one number of a communicator
    ended,        ///< a rank that has ended while others wait for it
    stalled,      ///< a rank that is in no call and makes no progress
    deadlock,     ///< ranks that wait for each other in different calls
    left,         ///< ranks whose part of a call has ended while that of others has not
    network,      ///< all are in one call, and none has done it: the device or the network
  };
  Kind kind = Kind::none;
  std::vector<int> culprits;       ///< ranks, ascending; of network all that are in the call
  std::vector<std::string> hosts;  ///< of unreachable: those on both sides; of network: those in the call
  std::vector<std::string> waits;  ///< who waits where, a line each, most ranks first
  std::vector<std::string> lines;  ///< what the culprits do, a line each
};

/// `reports` has one of each rank of the job, at its place; `judge` is the rank that asks. A rank that is
/// silent, gone or has ended is a culprit at once; any other only when all its blame rests on are beyond the
/// limits of their phases.
Verdict judge(std::span<const RankReport> reports, int judge);

std::string_view to_string(Verdict::Kind kind);

/// "rank 3", "ranks 0-2, 5".
std::string ranks_text(std::span<const int> ranks);

}  // namespace trireme::watch
