// The pipeline schedule of a plan. Pure functions of the plan.
#pragma once

#include "parallel/pipeline/schedule.h"
#include "parallel/plan/parallel_plan.h"

namespace trireme {

/// For training with `num_micro_batches` (1 or more) a replica. Of a schedule's file (read_schedule_of()):
/// throws UserError (bad_input) with its errors, or (usage) where its stages, virtual stages or micro-batches
/// are not those of the job.
Schedule training_schedule(const ParallelPlan& plan, int num_micro_batches);

/// Forward passes only, in the order of training.
Schedule evaluation_schedule(const ParallelPlan& plan, int num_micro_batches);

/// What is wrong with the pipeline's part of a plan in a model of `num_layers` placeable layers, beside what
/// errors_of() finds: every error with the numbers and the nearest that work. Reads no file, the plan has
/// what one says; without micro-batches (0: not known yet) its number of them is not compared.
std::vector<std::string> pipeline_errors(const ParallelPlan& plan, int num_layers, int num_micro_batches);

}  // namespace trireme
