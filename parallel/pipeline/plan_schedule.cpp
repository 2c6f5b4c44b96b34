#include "parallel/pipeline/plan_schedule.h"

#include <utility>

#include <fmt/ranges.h>

#include "parallel/pipeline/schedule_file.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

// Empty: the plan's schedule may be read.
std::string error_of_file(const ScheduleSpec& spec) {
  return spec.read ? spec.read->error : fmt::format("the schedule {} has not been read", spec.path);
}

void compare_with_job(const Schedule& s, const ParallelPlan& plan, int num_micro_batches,
                      std::vector<std::string>& errors) {
  const auto compare = [&](const char* what, int in_file, int in_job, const char* option) {
    if (in_file == in_job) return;
    errors.push_back(fmt::format("the schedule {} is for {} {}, the job has {}: {}", plan.schedule.path,
                                 in_file, what, in_job, fmt::format(fmt::runtime(option), in_file)));
  };
  compare("stages", s.num_stages, plan.pipeline, "use --parallel.pipeline {}");
  compare("virtual stages per rank", s.num_chunks, plan.virtual_stages, "use --parallel.virtual-stages {}");
  if (num_micro_batches == 0) return;
  compare("micro-batches", s.num_micro_batches, num_micro_batches,
          "choose train.global-batch for {} gradient accumulation steps");
}

}  // namespace

Schedule training_schedule(const ParallelPlan& plan, int num_micro_batches) {
  const ScheduleSpec& spec = plan.schedule;
  if (!spec.is_file()) return make_schedule(spec.kind, plan.pipeline, num_micro_batches, plan.virtual_stages);
  if (const std::string error = error_of_file(spec); !error.empty()) throw_bad_input("{}", error);
  std::vector<std::string> errors;
  compare_with_job(spec.read->schedule, plan, num_micro_batches, errors);
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  return spec.read->schedule;
}

Schedule evaluation_schedule(const ParallelPlan& plan, int num_micro_batches) {
  using enum ScheduleKind;
  Schedule schedule = make_schedule(plan.virtual_stages > 1 ? interleaved : one_f_one_b, plan.pipeline,
                                    num_micro_batches, plan.virtual_stages);
  for (auto& actions : schedule.actions_of_stage) {
    std::erase_if(actions, [](const Action& action) { return action.kind != ActionKind::forward; });
  }
  derive_transfers(schedule);
  return schedule;
}

std::vector<std::string> pipeline_errors(const ParallelPlan& plan, int num_layers, int num_micro_batches) {
  std::vector<std::string> errors;
  const int num_stages = plan.pipeline * plan.virtual_stages;
  if (num_stages > num_layers) {
    errors.push_back(fmt::format(
        "parallel.pipeline {}{} makes {} stages, but the model has only {} layers to place (blocks, "
        "embedding and head): use at most {}",
        plan.pipeline,
        plan.virtual_stages > 1 ? fmt::format(" x virtual-stages {}", plan.virtual_stages) : "", num_stages,
        num_layers,
        plan.virtual_stages > 1 && num_layers >= plan.pipeline
            ? fmt::format("--parallel.virtual-stages {}", num_layers / plan.pipeline)
            : fmt::format("--parallel.pipeline {}", num_layers / plan.virtual_stages)));
  }
  if (plan.pipeline == 1 || !plan.schedule.is_file()) return errors;
  if (std::string error = error_of_file(plan.schedule); !error.empty()) {
    errors.push_back(std::move(error));
  } else {
    compare_with_job(plan.schedule.read->schedule, plan, num_micro_batches, errors);
  }
  return errors;
}

}  // namespace trireme
