// A run whose teacher has ranks of its own.
#pragma once

#include <functional>

#include "launch/run/trainer.h"

namespace trireme::launch {

/// Divides the ranks of the job, the last config.distill.ranks of which have the teacher. `train` runs on the
/// others, with a job of their own; the teacher's follow it until it ends, and end as it does: with the code
/// of what it has agreed on, or by the job's end where one of its ranks fails. Signals are the student's.
void train_beside_teacher(const RunConfig& config, const Job& job,
                          const std::function<void(const Job& student)>& train);

}  // namespace trireme::launch
