#include "parallel/plan/parallel_plan.h"

#include <fmt/format.h>

namespace trireme {

namespace {

/// The one place that says which parts of a plan this version does not carry out.
void refuse_what_is_not_available(const ParallelPlan& plan, std::vector<std::string>& faults) {
  const auto refuse = [&](bool asked, const char* key, const std::string& value) {
    if (!asked) return;
    faults.push_back(
        fmt::format("parallel.{} {} is not available in this version: all ranks train data-parallel "
                    "(--parallel.data N, short --dp N)",
                    key, value));
  };
  const ParallelPlan usual;
  refuse(plan.tensor > 1, "tensor", fmt::to_string(plan.tensor));
  refuse(plan.pipeline > 1, "pipeline", fmt::to_string(plan.pipeline));
  refuse(plan.context > 1, "context", fmt::to_string(plan.context));
  refuse(plan.expert > 1, "expert", fmt::to_string(plan.expert));
  refuse(plan.sequence, "sequence", "on");
  refuse(plan.schedule != usual.schedule, "schedule", plan.schedule);
  refuse(plan.virtual_stages > 1, "virtual-stages", fmt::to_string(plan.virtual_stages));
  if (plan.zero_stage == 3) {
    faults.push_back(
        "parallel.zero 3 is not available in this version: 1 divides the optimizer's state over the "
        "data-parallel "
        "ranks, 2 the gradients too");
  }
}

void check_ranges(const ParallelPlan& plan, std::vector<std::string>& faults) {
  const auto at_least = [&](const char* key, int value, int least) {
    if (value < least)
      faults.push_back(fmt::format("parallel.{} is {}: it must be {} or more", key, value, least));
  };
  at_least("data", plan.data, 0);
  at_least("tensor", plan.tensor, 1);
  at_least("pipeline", plan.pipeline, 1);
  at_least("context", plan.context, 1);
  at_least("expert", plan.expert, 1);
  at_least("virtual-stages", plan.virtual_stages, 1);
  if (plan.zero_stage < 0 || plan.zero_stage > 3) {
    faults.push_back(fmt::format("parallel.zero is {}: it must be 0, 1, 2 or 3", plan.zero_stage));
  }
  if (!(plan.bucket_mib > 0)) {
    faults.push_back(fmt::format("parallel.bucket-mib is {}: it must be above 0", plan.bucket_mib));
  }
}

void check_effect(const ParallelPlan& plan, std::vector<std::string>& faults) {
  if (plan.zero_stage > 0 && plan.zero_stage <= 3 && plan.gradient_ranks() == 1) {
    faults.push_back(fmt::format(
        "parallel.zero {} has no effect with one data-parallel rank, there is nobody to divide with: "
        "start more ranks (mpirun -n 2, --parallel.data 2) or leave it at 0",
        plan.zero_stage));
  }
}

void fit_world(ParallelPlan& plan, int world_size, std::vector<std::string>& faults) {
  const int64_t replica = int64_t{plan.tensor} * plan.pipeline * plan.context;
  const bool divides = world_size % replica == 0;
  if (plan.data == 0 && divides) {
    plan.data = static_cast<int>(world_size / replica);
    return;
  }
  const int64_t asked = plan.data * replica;
  if (asked == world_size) return;
  const std::string sizes =
      fmt::format("tensor {} x pipeline {} x context {}", plan.tensor, plan.pipeline, plan.context);
  const std::string world = fmt::format("{} rank{}", world_size, world_size == 1 ? " was" : "s were");
  if (plan.data == 0) {
    const int64_t below = world_size / replica * replica;
    faults.push_back(fmt::format("{} started, but a model replica takes {} = {}: start {}{} (mpirun -n)",
                                 world, sizes, replica, below > 0 ? fmt::format("{} or ", below) : "",
                                 below + replica));
  } else {
    faults.push_back(
        fmt::format("{} started, but the layout takes data {} x {} = {}: start {} (mpirun -n {}){}", world,
                    plan.data, sizes, asked, asked, asked,
                    divides ? fmt::format(", or ask for --parallel.data {}", world_size / replica) : ""));
  }
}

}  // namespace

std::vector<std::string> resolve(ParallelPlan& plan, int world_size) {
  std::vector<std::string> faults;
  check_ranges(plan, faults);
  if (faults.empty()) fit_world(plan, world_size, faults);
  check_effect(plan, faults);
  refuse_what_is_not_available(plan, faults);
  return faults;
}

}  // namespace trireme
