// Dry-runs the action lists of a schedule against each other.
#pragma once

#include <functional>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trireme {

enum class SendMode {
  buffered,    ///< a send never waits (asynchronous)
  rendezvous,  ///< a send waits until its receiver has come to the receive
};

/// Every stage does its actions in order; a receive waits for the next message of its peer, whichever that
/// is. Calls `done` for each action, in an order that could happen: a send before its receive. Returns
/// for each stage the position at which it stands in the end: the length of its list, or the action that
/// waits forever. How far the stages get does not depend on which of them is run first.
std::vector<size_t> run_actions(const Schedule& schedule, SendMode mode,
                                const std::function<void(int stage, size_t position)>& done);

}  // namespace trireme
