// Arrows of a trace: from each send to its receive, and from the member of a collective that came last to
// the others.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/comm/comm_kind.h"

namespace trireme::launch {

/// A call as one rank has seen it, by the clock of the first rank. Plain bytes: ranks send it.
struct FlowEnd {
  uint64_t group = 0;  ///< RecordedGroup::id
  int64_t sequence = 0;
  int64_t begin_ns = 0, end_ns = 0;
  int32_t from = -1, to = -1;  ///< of messages, as ranks of the group
  int32_t root = -1;           ///< of a broadcast
  int32_t rank_in_group = 0, group_size = 0;
  int32_t rank = 0, row = 0;  ///< of the trace
  CommKind kind = CommKind::barrier;
  uint8_t is_over = 0;
};

/// An arrow; each of its times lies within the slice that it starts or ends at.
struct Flow {
  CommKind kind;
  int32_t from_rank, from_row, to_rank, to_row;
  int64_t from_ns, to_ns;
};

/// Of those whose both ends are there. Of a collective only where all members are; a broadcast leads from its
/// root. `num_backwards` counts arrows that would lead back in time, as clocks of hosts are not known well
/// enough: they are left out.
std::vector<Flow> match_flows(std::vector<FlowEnd> ends, int64_t& num_backwards);

}  // namespace trireme::launch
