#include "parallel/pipeline/plan_schedule.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "parallel/pipeline/check_schedule.h"
#include "parallel/pipeline/schedule_file.h"
#include "parallel/pipeline/simulate.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

Schedule read_proved(const std::string& path) {
  Schedule schedule = read_schedule(path);
  const auto faults = check_schedule(schedule);
  if (!faults.empty())
    throw_bad_input("{} is no schedule that can be run:\n{}", path, fmt::join(faults, "\n"));
  return schedule;
}

void compare_with_job(const Schedule& s, const ParallelPlan& plan, int num_micro_batches,
                      std::vector<std::string>& faults) {
  const auto compare = [&](const char* what, int in_file, int in_job, const char* option) {
    if (in_file == in_job) return;
    faults.push_back(fmt::format("the schedule {} is for {} {}, the job has {}: {}", plan.schedule, in_file,
                                 what, in_job, fmt::format(fmt::runtime(option), in_file)));
  };
  compare("stages", s.num_stages, plan.pipeline, "ask for --parallel.pipeline {}");
  compare("virtual stages a stage", s.num_chunks, plan.virtual_stages,
          "ask for --parallel.virtual-stages {}");
  if (num_micro_batches == 0) return;
  compare("micro-batches", s.num_micro_batches, num_micro_batches,
          "choose train.global-batch so that the accumulation is {}");
}

}  // namespace

bool is_schedule_file(const ParallelPlan& plan) {
  return std::ranges::find(schedule_kinds(), plan.schedule) == schedule_kinds().end();
}

Schedule training_schedule(const ParallelPlan& plan, int num_micro_batches) {
  if (!is_schedule_file(plan))
    return make_schedule(plan.schedule, plan.pipeline, num_micro_batches, plan.virtual_stages);
  Schedule schedule = read_proved(plan.schedule);
  std::vector<std::string> faults;
  compare_with_job(schedule, plan, num_micro_batches, faults);
  if (!faults.empty()) throw_usage("{}", fmt::join(faults, "\n"));
  return schedule;
}

Schedule evaluation_schedule(const ParallelPlan& plan, int num_micro_batches) {
  Schedule schedule = make_schedule(plan.virtual_stages > 1 ? "interleaved" : "1f1b", plan.pipeline,
                                    num_micro_batches, plan.virtual_stages);
  for (auto& actions : schedule.actions_of_stage) {
    std::erase_if(actions, [](const Action& action) { return action.kind != ActionKind::forward; });
  }
  derive_transfers(schedule);
  return schedule;
}

std::vector<int> pairs_in_flight(const ParallelPlan& plan, int num_micro_batches) {
  return simulate(training_schedule(plan, num_micro_batches)).peak_activations_of_stage;
}

std::vector<std::string> pipeline_faults(const ParallelPlan& plan, int num_layers, int num_micro_batches) {
  std::vector<std::string> faults;
  const int num_stages = plan.pipeline * plan.virtual_stages;
  if (num_stages > num_layers) {
    faults.push_back(fmt::format(
        "parallel.pipeline {}{} makes {} stages, but the model has only {} layers to place (its blocks, the "
        "embedding and the head): ask for at most {}",
        plan.pipeline,
        plan.virtual_stages > 1 ? fmt::format(" x virtual-stages {}", plan.virtual_stages) : "", num_stages,
        num_layers,
        plan.virtual_stages > 1 && num_layers >= plan.pipeline
            ? fmt::format("--parallel.virtual-stages {}", num_layers / plan.pipeline)
            : fmt::format("--parallel.pipeline {}", num_layers / plan.virtual_stages)));
  }
  if (plan.pipeline == 1) return faults;
  if (!is_schedule_file(plan)) return faults;
  try {
    compare_with_job(read_proved(plan.schedule), plan, num_micro_batches, faults);
  } catch (const Error& error) {
    faults.emplace_back(error.what());
  }
  return faults;
}

}  // namespace trireme
