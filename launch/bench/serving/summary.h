// From records of requests to figures; pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launch/bench/serving/load_run.h"

namespace trireme::launch {

/// Nearest ranks, in seconds; 0 where there were none.
struct TimeSpread {
  double median = 0, p99 = 0, largest = 0;
};
TimeSpread spread_of_times(std::vector<double> times);

/// Between the events of a request.
std::vector<double> gaps_of(const RequestRecord& record);

/// Tokens count of requests that were good.
struct LoadSummary {
  int64_t requests = 0, good = 0;
  std::map<std::string, int64_t> errors;  ///< by their words, "HTTP 429" and the like without the rest
  int64_t early_ends = 0;                 ///< texts that ended for another reason than their length
  int64_t without_usage = 0;              ///< whose tokens are events
  double seconds = 0, client_share = 0;   ///< what of a core the client used
  double output_rate = 0, total_rate = 0, request_rate = 0;  ///< tokens and requests a second
  double prompt_tokens = 0;                                  ///< mean of a prompt
  TimeSpread first_token, gap, whole;                        ///< first token: since it was due
};
LoadSummary summarize(const LoadResult& result);

/// Streams while a long prompt arrives, the last request of the plan.
struct LongPromptSummary {
  int64_t streams = 0;             ///< that were good
  int64_t still_running = 0;       ///< of these, those that had tokens after the long prompt's first
  double first_token = 0;          ///< seconds of the long prompt
  int64_t prompt_tokens = -1;      ///< of it, by the server's usage
  TimeSpread before, during;       ///< gaps that ended before it was sent, and until its first token
  double largest = 0, median = 0;  ///< of the stream with the largest gap meanwhile, its median over its life
  /// Twice the stream's median and one step more, as a promise has it.
  double bound() const { return 2 * median + before.median; }
};
LongPromptSummary summarize_long_prompt(const LoadResult& result);

/// Requests of one priority under more load than can be borne.
struct PrioritySummary {
  int64_t requests = 0, good = 0, refused = 0, failed = 0;  ///< refused: 429
  TimeSpread first_token, whole;
};
struct OverloadSummary {
  double offered_rate = 0;  ///< requests a second
  double output_rate = 0;   ///< tokens a second from a fifth of the time on until the last request was due
  std::map<int64_t, PrioritySummary> priorities;
};
OverloadSummary summarize_overload(const LoadResult& result, const LoadPlan& plan);

}  // namespace trireme::launch
