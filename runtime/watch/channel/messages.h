// What watchdogs say to each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "runtime/comm/record/call_site.h"

namespace trireme::watch {

/// What a rank says of itself every fraction of a second.
struct Heartbeat {
  CallSite site;
  int64_t progress = 0;
  double quiet = 0;  ///< seconds without progress, suspensions left out
  double limit = 0;  ///< of its phase; 0: none
};

std::string encode(const Heartbeat& heartbeat);
std::optional<Heartbeat> decode_heartbeat(std::string_view message);

/// A seat is there; `judges`: it is the one that judges.
std::string encode_ping(bool judges);
/// Nothing: another message.
std::optional<bool> decode_ping(std::string_view message);

/// All else, which is rare: an object with its name at "say".
std::string encode(const nlohmann::json& message);
/// Null where it is none.
nlohmann::json decode(std::string_view message);

}  // namespace trireme::watch
