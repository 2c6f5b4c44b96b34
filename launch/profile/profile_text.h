// The profile of a step on all ranks, as people read it.
#pragma once

#include <string>
#include <vector>

#include "launch/profile/step_account.h"

namespace trireme::launch {

/// The accounts of all ranks: a line per rank (of many the busiest and the idlest), and the whole account of
/// the one that was busy longest.
std::string profile_text(const std::vector<StepAccount>& accounts);

}  // namespace trireme::launch
