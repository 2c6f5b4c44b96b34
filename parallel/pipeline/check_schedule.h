// Checks that a schedule is complete, consistent and free of deadlocks, before anything runs.
#pragma once

#include <string>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trireme {

/// What is wrong with a schedule, one sentence each, naming stage, position (from 0) and action; empty:
/// proved
///   complete    every micro-batch passes every chunk forward once, and backward once (whole or in two parts)
///   ordered     no action comes before what it needs on its own stage: its receive, its forward, its
///               input gradient
///   matched     between two stages, messages are received in the order in which they are sent
///   free of deadlock, with receives that wait and sends that do not
/// Makes no assumption about the schedule but reads only lists whose numbers are in range.
std::vector<std::string> check_schedule(const Schedule& schedule);

/// Whether a schedule without errors would also hold if every send waited for its receive.
bool holds_with_rendezvous(const Schedule& schedule);

}  // namespace trireme
