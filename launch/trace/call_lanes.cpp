#include "launch/trace/call_lanes.h"

#include <algorithm>
#include <utility>

namespace trireme::launch {

int32_t CallLanes::number_of(const RecordedGroup& group) {
  const auto found = std::ranges::find_if(data_.groups, [&](const RecordedGroup& known) {
    return known.id == group.id && known.name == group.name;
  });
  const auto number = static_cast<int32_t>(found - data_.groups.begin());
  if (found == data_.groups.end()) {
    data_.groups.push_back(group);
    lanes_.emplace_back();
  }
  return number;
}

int32_t CallLanes::row_for(int32_t group, int64_t begin_ns, int64_t end_ns) {
  auto& lanes = lanes_[static_cast<size_t>(group)];
  auto lane = std::ranges::find_if(lanes, [&](const auto& each) { return each.second <= begin_ns; });
  if (lane == lanes.end()) {
    data_.rows.push_back({group, static_cast<int32_t>(lanes.size())});
    lanes.emplace_back(kFirstGroupRow + static_cast<int32_t>(data_.rows.size()) - 1, 0);
    lane = lanes.end() - 1;
  }
  lane->second = end_ns;
  return lane->first;
}

void CallLanes::add(const RecordedGroup& group, std::vector<CallRecord> calls) {
  const int32_t number = number_of(group);
  for (CallRecord& call : calls) {
    if (call.started_ns == 0) call.started_ns = call.enqueued_ns;
  }
  std::ranges::stable_sort(calls, {}, &CallRecord::started_ns);
  for (const CallRecord& call : calls) {
    const int64_t end = std::max(call.ended_ns, call.started_ns);
    data_.calls.push_back({call, number, row_for(number, call.started_ns, end)});
  }
}

}  // namespace trireme::launch
