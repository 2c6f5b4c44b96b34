#include "runtime/comm/record/history_json.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme {

namespace {

using nlohmann::json;

/// From the steady clock to the one of the calendar.
class WallTime {
 public:
  WallTime()
      : offset_(std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count() -
                steady_ns()) {}
  json of(int64_t ns) const { return ns == 0 ? json() : json(ns + offset_); }

 private:
  int64_t offset_;
};

std::string_view state_of(const CallRecord& call) {
  if (call.ended_ns != 0) return "completed";
  return call.started_ns != 0 ? "started" : "scheduled";
}

bool is_reduction(const CallRecord& call) {
  return call.kind == CommKind::all_reduce || call.kind == CommKind::reduce_scatter;
}

/// "nccl:all_reduce", "mpi:send 0->1".
std::string profiling_name(const RecordedGroup& group, const CallRecord& call) {
  std::string name = fmt::format("{}:{}", group.backend, to_string(call.kind));
  if (call.kind == CommKind::send) name += fmt::format(" {}->{}", group.rank, call.peer);
  if (call.kind == CommKind::receive) name += fmt::format(" {}<-{}", group.rank, call.peer);
  return name;
}

json id_text(const RecordedGroup& group) { return fmt::format("{:016x}", group.id); }

json entry(const RecordedGroup& group, const CallRecord& call, const WallTime& wall) {
  const bool is_message = is_point_to_point(call.kind);
  json out = {{"pg_id", id_text(group)},
              {"pg_name", group.name},
              {"is_p2p", is_message},
              {is_message ? "p2p_seq_id" : "collective_seq_id", call.sequence},
              {"profiling_name", profiling_name(group, call)},
              {"state", state_of(call)},
              {"time_created_ns", wall.of(call.enqueued_ns)},
              {"time_discovered_started_ns", wall.of(call.started_ns)},
              {"time_discovered_completed_ns", wall.of(call.ended_ns)},
              {"phase", to_string(call.site.phase)},
              {"step", call.site.step},
              {"micro_batch", call.site.micro_batch},
              {"layer", call.site.layer},
              {"input_sizes", json::array()},
              {"input_dtypes", json::array()}};
  if (call.count >= 0) {
    out["input_sizes"].push_back(json::array({call.count}));
    out["input_dtypes"].push_back(to_string(call.dtype));
  }
  if (is_reduction(call)) out["reduce_op"] = to_string(call.op);
  if (call.peer >= 0) out[is_message ? "peer" : "root"] = call.peer;
  if (call.label[0] != '\0') out["label"] = call.label;
  return out;
}

/// The newest collective in a state, as far as the ring knows; -1: none.
template <class IsIn>
int64_t last(const CommHistory& history, const IsIn& is_in) {
  int64_t sequence = -1;
  for (const CallRecord& call : history.calls) {
    if (!is_point_to_point(call.kind) && is_in(call)) sequence = std::max(sequence, call.sequence);
  }
  return sequence;
}

json status_of(const CommHistory& history) {
  return {{"last_enqueued_collective", history.num_collectives - 1},
          {"last_started_collective", last(history, [](const CallRecord& c) { return c.started_ns != 0; })},
          {"last_completed_collective", last(history, [](const CallRecord& c) { return c.ended_ns != 0; })},
          {"num_calls", history.num_calls}};
}

}  // namespace

json history_json(const Recorder& recorder) {
  const WallTime wall;
  const CallSite site = recorder.site();
  json out = {{"version", "1"},
              {"phase", to_string(site.phase)},
              {"step", site.step},
              {"micro_batch", site.micro_batch},
              {"layer", site.layer},
              {"phase_since_ns", wall.of(recorder.phase_since_ns())},
              {"pg_config", json::object()},
              {"pg_status", json::object()},
              {"entries", json::array()}};
  for (const CommHistory& history : recorder.history()) {
    const std::string id = id_text(history);
    out["pg_config"][id] = {{"name", history.name},
                            {"backend", history.backend},
                            {"ranks", history.members},
                            {"rank", history.rank}};
    out["pg_status"][id] = status_of(history);
    for (const CallRecord& call : history.calls) out["entries"].push_back(entry(history, call, wall));
  }
  return out;
}

}  // namespace trireme
