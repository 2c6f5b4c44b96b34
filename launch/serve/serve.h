// trireme serve: a model behind HTTP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/generate/inference_arguments.h"
#include "launch/generate/speculation_options.h"
#include "launch/serve/http/http_server.h"
#include "launch/serve/protocol/openai_api.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

struct ServeArguments {
  InferenceArguments model;
  std::string address = "127.0.0.1";
  uint16_t port = 8000;
  std::string name;          ///< of the model in the API; empty: the path's last part
  std::string api_key_file;  ///< a key a line; empty: TRIREME_API_KEY of the environment, or none
  HttpLimits http;
  ApiLimits api;
  int64_t max_sequences = 64;  ///< texts that run at once
  int64_t max_waiting = 1024;  ///< texts that wait; more are refused (429)
  double stuck_seconds = 60;   ///< a pass that takes longer makes the server unhealthy
  double stop_seconds = 30;    ///< for streams to end after a signal
  double status_seconds = 10;  ///< between lines of status; 0: none
  bool reuses_prefixes = true;
  bool logs_requests = false;
  SpeculationArguments speculation;
};

/// All ranks of `world` call it with equal, complete arguments; `local_ranks` of them share this host. Rank 0
/// listens. Returns after a graceful stop (SIGTERM, SIGINT): streams have ended.
void serve(Context& ctx, Communicator& world, const ServeArguments& arguments, int local_ranks);

}  // namespace trireme::launch
