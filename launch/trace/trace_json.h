// A rank's part of a trace in Chrome's format (Trace Event Format), which chrome://tracing and
// ui.perfetto.dev read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/trace/trace_data.h"
#include "launch/trace/trace_flows.h"

namespace trireme::launch {

/// Who a rank is.
struct TracedRank {
  int rank = 0;
  std::string name;  ///< "rank 3: node7, dp 1 pp 0 cp 0 tp 1"
};

/// Passes on the events of a rank, texts of many lines, each event followed by ",\n": names of its rows, then
/// of each row in the order of time. `to_trace_ns` gives times of the trace; what begins after `last_ns`, by
/// the rank's clock, is left out.
class RankEvents {
 public:
  using Write = std::function<void(std::string_view)>;
  RankEvents(const TracedRank& rank, const RankTraceData& data, std::function<int64_t(int64_t)> to_trace_ns,
             int64_t last_ns, Write write);

  void write_all();
  int64_t num_written() const { return num_written_; }
  /// The calls of all that was written.
  const std::vector<FlowEnd>& flow_ends() const { return flow_ends_; }

 private:
  void write_names();
  void write_slices();
  void write_calls();
  void write_counters();
  void add(std::string_view event);
  void flush();

  const TracedRank& rank_;
  const RankTraceData& data_;
  std::function<int64_t(int64_t)> to_trace_ns_;
  int64_t last_ns_;
  Write write_;
  std::string text_;
  int64_t num_written_ = 0;
  std::vector<FlowEnd> flow_ends_;
};

/// Both ends of an arrow, each followed by ",\n".
std::string flow_events(const Flow& flow, int64_t id);

}  // namespace trireme::launch
