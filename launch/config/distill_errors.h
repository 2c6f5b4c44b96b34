// What does not go together in a distillation.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// Ranks that the student has, of all of the job. At least 1, also where that is an error.
int student_ranks(const RunConfig& config, int world_size);

/// Sets the precision of the teacher's passes unless `given` names it, and appends all errors of the
/// choice that are known without the teacher's files, with what would work.
void complete_distillation(RunConfig& config, const std::set<std::string>& given, int world_size,
                           std::vector<std::string>& errors);

/// The teacher's layout over so many ranks.
ParallelPlan teacher_plan(const DistillChoice& distill, int ranks);

}  // namespace trireme::launch
