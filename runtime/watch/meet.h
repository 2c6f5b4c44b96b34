// How the watchdogs of a job come to know each other.
#pragma once

#include <string>

#include "runtime/comm/communicator.h"
#include "runtime/watch/watchdog.h"

namespace trireme::watch {

/// Every rank of the job calls it with its host's name: rank 0 draws the secret, which `world` passes on
/// together with the addresses of all. `interface`: as own_addresses() has it. Errors of that, of listen_on()
/// and of the communicator.
WatchPost meet(Communicator& world, const std::string& host, bool on_one_host, const std::string& interface);

/// Of a process that is alone.
WatchPost alone(const std::string& host);

}  // namespace trireme::watch
