// What a rank has traced: plain data, by its own clock.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/record/call_ring.h"
#include "runtime/device/allocator.h"

namespace trireme::launch {

/// The rows that every rank has; rows of its groups follow.
enum TraceRow : int32_t { kOpRow, kWaitRow, kStepRow, kFirstGroupRow };

/// What slices that are alike have in common.
struct TraceName {
  std::string name, category;
  std::string args;  ///< a JSON object; empty: none

  friend bool operator==(const TraceName&, const TraceName&) = default;
};

/// Times are nanoseconds of the steady clock.
struct TraceSlice {
  int64_t begin_ns = 0, ns = 0;
  int32_t name = 0;  ///< RankTraceData::names
  int32_t row = 0;
  int32_t depth = 0;  ///< slices of a row lie within those of less depth
};

struct TracedCall {
  CallRecord call;
  int32_t group = 0;  ///< RankTraceData::groups
  int32_t row = 0;
};

/// A row of a group's calls: "tensor", and where calls overlap "tensor 2" and so on.
struct GroupRow {
  int32_t group = 0, lane = 0;
};

struct MemorySample {
  int64_t ns = 0;
  std::array<int64_t, kNumMemoryCategories> bytes = {};
};

struct StepSpan {
  int64_t step = 0, begin_ns = 0, end_ns = 0;
};

struct RankTraceData {
  std::vector<TraceName> names;
  std::vector<TraceSlice> slices;  ///< of a row in the order of their ends
  std::vector<RecordedGroup> groups;
  std::vector<GroupRow> rows;     ///< from kFirstGroupRow on
  std::vector<TracedCall> calls;  ///< of a row in their order
  std::vector<MemorySample> memory;
  std::vector<std::pair<int64_t, double>> tokens_per_second;  ///< when a step ended, and its rate
  std::vector<StepSpan> steps;                                ///< that are whole, in their order
  int64_t begin_ns = 0, end_ns = 0;
  int64_t num_lost_calls = 0;
  bool is_full = false;  ///< more happened than it may hold: what comes after its last whole step lacks some

  int64_t num_events() const {
    return static_cast<int64_t>(slices.size() + calls.size() + memory.size() + tokens_per_second.size());
  }
};

}  // namespace trireme::launch
