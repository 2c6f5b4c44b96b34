#include "parallel/plan/parallel_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "parallel/plan/nearest.h"

namespace trireme {

namespace {

void check_ranges(const ParallelPlan& plan, std::vector<std::string>& errors) {
  const auto at_least = [&](const char* key, int value, int least) {
    if (value < least)
      errors.push_back(fmt::format("parallel.{} is {}: it must be {} or more", key, value, least));
  };
  at_least("data", plan.data, 0);
  at_least("tensor", plan.tensor, 1);
  at_least("pipeline", plan.pipeline, 1);
  at_least("context", plan.context, 1);
  at_least("expert", plan.expert, 1);
  at_least("tensor-chunks", plan.tensor_chunks, 1);
  at_least("expert-tensor", plan.expert_tensor, 0);
  at_least("expert-chunks", plan.expert_chunks, 1);
  at_least("virtual-stages", plan.virtual_stages, 1);
  at_least("shard", plan.shard, 0);
  if (plan.zero_stage < 0 || plan.zero_stage > 3) {
    errors.push_back(fmt::format("parallel.zero is {}: it must be 0, 1, 2 or 3", plan.zero_stage));
  }
  if (plan.sequence && plan.tensor == 1) {
    errors.push_back(
        "parallel.sequence shards tokens over tensor-parallel ranks, but parallel.tensor is 1: use 2 "
        "or more");
  }
  if (plan.tensor_chunks > 1 && plan.tensor == 1) {
    errors.push_back(fmt::format(
        "parallel.tensor-chunks {} has no effect without tensor parallelism: use --parallel.tensor 2 or more",
        plan.tensor_chunks));
  }
  if (!(plan.bucket_mib > 0)) {
    errors.push_back(fmt::format("parallel.bucket-mib is {}: it must be above 0", plan.bucket_mib));
  }
}

void check_shard(const ParallelPlan& plan, std::vector<std::string>& errors) {
  const int ranks = plan.gradient_ranks(), shard = plan.shard;
  if (shard <= 0 || ranks <= 1) return;
  if (plan.zero_stage == 0) {
    errors.push_back(
        fmt::format("parallel.shard {} has no effect with parallel.zero 0, which shards nothing: use "
                    "parallel.zero 1, 2 or 3, or leave parallel.shard at 0",
                    shard));
  }
  if (shard > 1 && ranks % shard == 0) return;
  int below = std::min(shard, ranks), above = std::max(shard, 2);
  while (ranks % below != 0) --below;
  while (above < ranks && ranks % above != 0) ++above;
  const bool below_divides = below > 1 && above <= ranks;
  errors.push_back(fmt::format(
      "parallel.shard {} {}: nearest {} {}{}", shard,
      shard == 1 ? "would shard over one rank, which has no effect"
                 : fmt::format("does not divide the {} ranks that replicate the parameters (data {} x "
                               "context {})",
                               ranks, plan.data, plan.context),
      below_divides ? "are" : "is", below_divides ? fmt::format("{} and ", below) : "",
      std::min(above, ranks)));
}

void check_experts(const ParallelPlan& plan, std::vector<std::string>& errors) {
  if (plan.expert < 1 || plan.expert_tensor < 0 || plan.tensor < 1 || plan.gradient_ranks() < 1) return;
  const int width = plan.expert_tensor_ranks();
  if (plan.tensor % width != 0) {
    errors.push_back(fmt::format(
        "parallel.expert-tensor {} does not divide parallel.tensor {}: nearest: --parallel.expert-tensor {}",
        width, plan.tensor, nearest_divisors(plan.tensor, width)));
    return;
  }
  const int ranks = plan.expert_row_ranks(), shard = plan.shard_ranks() * plan.expert_row_shards();
  if (ranks % plan.expert != 0) {
    const std::string parts = plan.expert_row_shards() > 1
                                  ? fmt::format(" x tensor {} / expert-tensor {}", plan.tensor, width)
                                  : "";
    errors.push_back(
        fmt::format("parallel.expert {} does not divide the {} rank{} that process different tokens "
                    "(data {} x context {}{}): nearest: --parallel.expert {}",
                    plan.expert, ranks, ranks == 1 ? "" : "s", plan.data, plan.context, parts,
                    nearest_divisors(ranks, plan.expert)));
  } else if (shard > 0 && shard % plan.expert != 0 && plan.expert % shard != 0) {
    errors.push_back(fmt::format(
        "parallel.shard {} and parallel.expert {}: neither divides the other, so the replicas of an "
        "expert could not shard its state evenly",
        plan.shard, plan.expert));
  }
}

void check_effect(const ParallelPlan& plan, std::vector<std::string>& errors) {
  if (plan.zero_stage > 0 && plan.zero_stage <= 3 && plan.gradient_ranks() == 1) {
    errors.push_back(fmt::format(
        "parallel.zero {} has no effect with one data-parallel rank: start more ranks (mpirun -n 2, "
        "--parallel.data 2) or leave it at 0",
        plan.zero_stage));
  }
}

void check_chunks(const ParallelPlan& plan, std::vector<std::string>& errors) {
  if (plan.expert_chunks <= 1 || plan.expert > 1) return;
  errors.push_back(
      fmt::format("parallel.expert-chunks {} has no effect without expert parallelism: use "
                  "--parallel.expert 2 or more, or leave it at 1",
                  plan.expert_chunks));
}

void check_pipeline(const ParallelPlan& plan, std::vector<std::string>& errors) {
  const ScheduleKind kind = plan.schedule.kind;
  if (plan.schedule.is_file() && plan.schedule.path.empty()) {
    errors.push_back("parallel.schedule is empty: use gpipe, 1f1b, interleaved, zb-h1 or a schedule file");
  } else if (plan.pipeline == 1 && plan.schedule != ScheduleSpec()) {
    errors.push_back(fmt::format(
        "parallel.schedule {} has no effect without pipeline parallelism: use --parallel.pipeline 2 or more",
        plan.schedule.text()));
  }
  if (plan.pipeline == 1 && plan.virtual_stages > 1) {
    errors.push_back(
        fmt::format("parallel.virtual-stages {} has no effect without pipeline parallelism: use "
                    "--parallel.pipeline 2 or more",
                    plan.virtual_stages));
  } else if (kind == ScheduleKind::interleaved && plan.virtual_stages == 1) {
    errors.push_back(
        "parallel.schedule interleaved needs --parallel.virtual-stages 2 or more: with one it is 1f1b");
  } else if (plan.virtual_stages > 1 && !has_virtual_stages(kind)) {
    errors.push_back(fmt::format("parallel.virtual-stages {} needs --parallel.schedule interleaved, not {}",
                                 plan.virtual_stages, to_string(kind)));
  }
}

}  // namespace

std::string size_error(const ParallelPlan& plan) {
  constexpr double kMost = 1 << 20;
  const double data = std::max(plan.data, 1), tensor = plan.tensor, pipeline = plan.pipeline;
  if (data * tensor * pipeline * plan.context > kMost) {
    return fmt::format(
        "data {} x tensor {} x pipeline {} x context {} is {:.0f} ranks; the maximum is {:.0f}", plan.data,
        plan.tensor, plan.pipeline, plan.context, data * tensor * pipeline * plan.context, kMost);
  }
  if (pipeline * plan.virtual_stages > kMost) {
    return fmt::format(
        "parallel.pipeline {} x parallel.virtual-stages {} is {:.0f} stages; the maximum is {:.0f}",
        plan.pipeline, plan.virtual_stages, pipeline * plan.virtual_stages, kMost);
  }
  if (static_cast<double>(plan.shard) * tensor > 1 << 30) {
    return fmt::format("parallel.shard {} with parallel.tensor {}: too many ranks; the maximum is {:.0f}",
                       plan.shard, plan.tensor, kMost);
  }
  return "";
}

std::string fit_to_world(ParallelPlan& plan, int world_size) {
  std::vector<std::string> no_degrees;
  check_ranges(plan, no_degrees);
  if (!no_degrees.empty()) return "";
  const int64_t replica = int64_t{plan.tensor} * plan.pipeline * plan.context;
  const bool divides = world_size % replica == 0;
  if (plan.data == 0 && divides) {
    plan.data = static_cast<int>(world_size / replica);
    return "";
  }
  const int64_t asked = plan.data * replica;
  if (asked == world_size) return "";
  const std::string sizes =
      fmt::format("tensor {} x pipeline {} x context {}", plan.tensor, plan.pipeline, plan.context);
  const std::string world = fmt::format("{} rank{}", world_size, world_size == 1 ? " was" : "s were");
  if (plan.data == 0) {
    const int64_t below = world_size / replica * replica;
    return fmt::format("{} started, but a model replica needs {} = {}: start {}{} (mpirun -n)", world, sizes,
                       replica, below > 0 ? fmt::format("{} or ", below) : "", below + replica);
  }
  return fmt::format("{} started, but the layout needs data {} x {} = {}: start {} (mpirun -n {}){}", world,
                     plan.data, sizes, asked, asked, asked,
                     divides ? fmt::format(", or use --parallel.data {}", world_size / replica) : "");
}
std::vector<std::string> errors_of(const ParallelPlan& plan) {
  std::vector<std::string> errors;
  check_ranges(plan, errors);
  check_effect(plan, errors);
  check_pipeline(plan, errors);
  check_shard(plan, errors);
  check_experts(plan, errors);
  check_chunks(plan, errors);
  return errors;
}

std::vector<std::string> resolve(ParallelPlan& plan, int world_size) {
  const std::string of_world = fit_to_world(plan, world_size);
  std::vector<std::string> errors = errors_of(plan);
  if (!of_world.empty()) errors.insert(errors.begin(), of_world);
  return errors;
}

}  // namespace trireme
