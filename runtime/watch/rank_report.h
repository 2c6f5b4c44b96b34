// What is known of a rank when a job is judged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/comm/record/call_ring.h"

namespace trireme::watch {

/// Whether a rank's watchdog is there.
enum class Presence : uint8_t {
  answered,  ///< it has sent its report
  silent,    ///< its process exists, as far as is known, and does not answer
  gone,      ///< its process exists no more, without a word
  ended,     ///< it has taken its leave in good order
};

/// Of one thread.
struct ThreadStack {
  int64_t thread = 0;
  std::string name;                 ///< as the kernel has it
  std::vector<std::string> frames;  ///< innermost first; empty: the thread did not answer
};

struct RankReport {
  int rank = 0;
  std::string host;
  int pid = 0;
  Presence presence = Presence::answered;
  std::string detail;  ///< of a process that is not there or does not answer: "stopped by a signal"
  CallSite site;       ///< where it is, or was when it was heard last
  double quiet = 0;    ///< seconds without progress (silent: since it was heard last)
  double limit = 0;    ///< of its phase, in seconds; 0: none
  /// Whether its main thread is in a call of a communicator; none: not known.
  std::optional<bool> waits;
  std::vector<CommHistory> histories;
  std::vector<ThreadStack> stacks;  ///< the main thread's first
};

/// "step 12, backward, micro-batch 3, layer 11", as much of it as there is.
std::string to_string(const CallSite& site);
/// "all_reduce #412 of dp".
std::string call_name(const CommHistory& history, const CallRecord& call);
/// "sum, f32, 1000 elements": as far as the call has these.
std::string call_arguments(const CallRecord& call);

/// With `most_calls` of each communicator at most: those that have not ended, then the newest.
nlohmann::json to_json(const RankReport& report, size_t most_calls);
/// Throws nlohmann::json::exception where `json` is no report.
RankReport report_from_json(const nlohmann::json& json);

}  // namespace trireme::watch
