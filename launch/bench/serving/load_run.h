// Runs a plan of requests against a server, and notes what becomes of each.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/bench/serving/endpoint.h"
#include "launch/bench/serving/request_record.h"

namespace trireme::launch {

struct LoadPlan {
  std::vector<PlannedRequest> requests;  ///< are sent in this order
  int64_t clients = 0;                   ///< no more at once; 0: any number
  double timeout = 600;                  ///< seconds of one request
};

struct LoadResult {
  std::vector<RequestRecord> records;  ///< in the plan's order
  double seconds = 0;                  ///< from the begin to the last answer's end
  double client_cpu_seconds = 0;       ///< processor time that this client used meanwhile
};

/// One thread, and one connection for each request in flight, kept for the next.
LoadResult run_load(const Endpoint& endpoint, const LoadPlan& plan);

}  // namespace trireme::launch
