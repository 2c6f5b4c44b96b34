// What a process of this host looks like from another.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "runtime/watch/channel/roster.h"

namespace trireme::watch {

struct Inspection {
  int rank = 0;
  bool is_there = false;
  bool is_stopped = false;         ///< it could not answer if it wanted to
  bool is_debugged = false;        ///< a debugger has stopped it
  bool was_out_of_memory = false;  ///< its control group has had something killed for memory since it began
  std::string detail;              ///< "stopped by a signal"
};

/// `peer` is of this host. With `is_lost` its connection has closed, and it is given a moment to end.
Inspection inspect(const Peer& peer, bool is_lost);

nlohmann::json to_json(const Inspection& inspection);
Inspection inspection_from_json(const nlohmann::json& json);

}  // namespace trireme::watch
