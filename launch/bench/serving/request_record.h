// What a load client asks for, and what became of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::launch {

struct PlannedRequest {
  std::string body;  ///< JSON of POST /v1/completions
  int64_t max_tokens = 0;
  int64_t priority = 0;
  double at = 0;  ///< not sent before, in seconds after the run's begin
  int64_t after_events =
      -1;  ///< not sent before every other one in flight has so many; -1: whatever they have
};

/// Times are seconds after the run's begin; negative: never.
struct RequestRecord {
  size_t planned = 0;  ///< its place in the plan
  double due = 0;      ///< when it should have been sent: `at`, or when its client was free
  double sent = -1, ended = -1;
  std::vector<double> events;               ///< when tokens came; one may carry several
  int status = 0;                           ///< of HTTP; 0: no answer
  double retry_after = 0;                   ///< seconds, as a refusal says
  std::string error;                        ///< empty: complete, and as it was asked for
  std::string finish;                       ///< finish_reason
  int64_t prompt_tokens = -1, tokens = -1;  ///< by the server's usage; -1: it says none

  bool is_good() const { return error.empty(); }
  double first_token() const { return events.empty() ? -1 : events.front(); }
  /// Tokens that came, by events where the server says no number.
  int64_t num_tokens() const { return tokens >= 0 ? tokens : static_cast<int64_t>(events.size()); }
};

}  // namespace trireme::launch
