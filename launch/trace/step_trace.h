// StepTrace: some steps of a run on all ranks, as a trace in Chrome's format.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/config/step_range.h"
#include "launch/profile/step_account.h"
#include "launch/trace/clock_offset.h"
#include "launch/trace/rank_trace.h"
#include "launch/trace/trace_file.h"
#include "launch/trace/trace_flows.h"
#include "parallel/plan/parallel_context.h"

namespace trireme::launch {

struct TraceOptions {
  StepRange steps;
  std::string host = {};  ///< of this rank
  /// Events of all ranks together. A rank keeps its share of them, 24 to 200 bytes each, until the trace
  /// ends.
  int64_t max_events = 1'000'000;
  RankClock clock = RankClock::of_host();
};

/// What became of a trace, on the first rank.
struct TraceResult {
  StepRange steps;  ///< that are in it as a whole
  std::string file = {};
  std::vector<std::string> notes =
      {};  ///< what the user should know: that it ended early, that it is not written
  std::vector<StepAccount> accounts = {};  ///< of each rank, where they were asked for
};

/// Ranks begin together, collect by themselves (RankTrace), and at the end send what they have to the first
/// rank in pieces, which it writes as they come: it never holds more than its own events and the ends of the
/// arrows.
class StepTrace {
 public:
  /// All ranks call it, and all else but end_step(); waits for what they have submitted before. `ctx` and
  /// `parallel` outlive it.
  StepTrace(Context& ctx, const ParallelContext& parallel, TraceOptions options);

  void begin_data_wait() { trace_->begin_data_wait(); }
  void end_data_wait() { trace_->end_data_wait(); }
  /// RankTrace::end_step().
  void end_step(double tokens_per_second);
  const StepRange& steps() const { return options_.steps; }

  /// Behind the last step. The first rank writes a file, the path of which `file_of` gives from the steps
  /// that are in it; elsewhere the result is empty. With `rates` each rank's account of all that was traced
  /// is in the file too, under "accounts". A file that cannot be written is a note.
  TraceResult finish(const std::function<std::string(const StepRange&)>& file_of,
                     const ops::DeviceRates* rates = nullptr);

 private:
  struct Extent;
  Extent agree(const RankTraceData& data, const AlignedClock& clock);
  void write_end(TraceFile& file, const Extent& extent, std::vector<FlowEnd> ends,
                 const std::vector<nlohmann::ordered_json>& of_ranks, TraceResult& result) const;

  Context& ctx_;
  const ParallelContext& parallel_;
  TraceOptions options_;
  ClockOffset first_offset_;
  std::unique_ptr<RankTrace> trace_;
  int64_t num_ended_ = 0;
};

/// "rank 3: node7, dp 1 pp 0 cp 0 tp 1 ep 0".
std::string traced_name(const ParallelContext& parallel, const std::string& host);

/// The ops and waits of a trace as a profile has them.
StepAccount account_of(const RankTraceData& data, const ops::DeviceRates& rates);

}  // namespace trireme::launch
