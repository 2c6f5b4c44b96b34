// What a server says before it listens.
#pragma once

#include <string>

#include "launch/serve/serving_model.h"

namespace trireme::launch {

struct ServedPlace {
  std::string device;  ///< device_text()
  int num_ranks = 1, threads = 1;
};

/// Several lines: model, weights, layout, cache with its memory, limits, speed, access.
std::string serve_banner(const ServeArguments& arguments, const ServedFiles& served,
                         const ServingModel& model, const WarmUp& warm, const ServedPlace& place);

/// "http://127.0.0.1:8000".
std::string url_of(const std::string& address, uint16_t port);
/// What whoever starts a server should know of who reaches it; empty: nothing.
std::string address_warning(const ServeArguments& arguments, bool has_keys);

}  // namespace trireme::launch
