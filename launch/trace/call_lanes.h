// Which row of a group a call is drawn in.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/trace/trace_data.h"

namespace trireme::launch {

/// Calls of a group that overlap go to rows of their own, as few as the order of the calls allows: slices of
/// a row must not overlap in part.
class CallLanes {
 public:
  explicit CallLanes(RankTraceData& data) : data_(data) {}

  /// Calls of a group, in any order; what is drawn is from their start to their end.
  void add(const RecordedGroup& group, std::vector<CallRecord> calls);

 private:
  int32_t number_of(const RecordedGroup& group);
  int32_t row_for(int32_t group, int64_t begin_ns, int64_t end_ns);

  RankTraceData& data_;
  std::vector<std::vector<std::pair<int32_t, int64_t>>> lanes_;  // by group: its row, and its last end
};

}  // namespace trireme::launch
