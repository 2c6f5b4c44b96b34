#include "launch/profile/breakdown.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

int degree_of(Axis axis, const ParallelPlan& plan) {
  switch (axis) {
    case Axis::data:
      return plan.data;
    case Axis::tensor:
      return plan.tensor;
    case Axis::context:
      return plan.context;
    case Axis::expert:
      return plan.expert;
    case Axis::pipeline:
      return plan.pipeline;
  }
  return 1;
}

Axis outermost(std::initializer_list<Axis> axes, const ParallelPlan& plan) {
  const auto* found = std::ranges::find_if(axes, [&](Axis axis) { return degree_of(axis, plan) > 1; });
  return found == axes.end() ? *axes.begin() : *found;
}

double lower_median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// The least of the ranks of each stage.
std::map<int, double> least_of_stages(std::span<const int> stages, const std::vector<double>& values) {
  std::map<int, double> least;
  for (size_t r = 0; r < stages.size(); ++r) {
    double& of_stage = least.try_emplace(stages[r], kNever).first->second;
    of_stage = std::min(of_stage, values[r]);
  }
  return least;
}

double wait_of(const RankTimes& r) {
  return std::accumulate(r.exposed.begin(), r.exposed.end(), r.bubble + r.late);
}

struct Loss {
  double excess = 0, behind = 0, moved = 0;
};

std::vector<Loss> losses_of(std::span<const RankTimes> ranks, std::span<const int> stages) {
  std::vector<double> compute, lost, of_stages;
  for (const RankTimes& rank : ranks) compute.push_back(rank.compute);
  const auto fastest = least_of_stages(stages, compute);
  for (const auto& [stage, ms] : fastest) of_stages.push_back(ms);
  const double middle = lower_median(of_stages);
  std::vector<Loss> losses(ranks.size());
  for (size_t r = 0; r < ranks.size(); ++r) {
    const double of_stage = fastest.at(stages[r]);
    losses[r] = {.excess = compute[r] - of_stage, .behind = std::max(0.0, of_stage - middle)};
    lost.push_back(losses[r].excess + ranks[r].late);
  }
  if (fastest.size() == 1) return losses;
  double lost_by_all = 0;
  for (const auto& [stage, ms] : least_of_stages(stages, lost)) lost_by_all = std::max(lost_by_all, ms);
  for (size_t r = 0; r < ranks.size(); ++r)
    losses[r].moved = std::min(ranks[r].bubble, std::max(0.0, lost_by_all - lost[r]));
  return losses;
}

}  // namespace

Axis axis_of(std::string_view group, const ParallelPlan& plan) {
  using enum Axis;
  if (group == "tensor" || group == "tensor-copies" || group == "expert-tensor") return tensor;
  if (group == "context") return context;
  if (group == "experts") return expert;
  if (group == "pipeline" || group == "shared-weights") return pipeline;
  if (group == "world") return outermost({pipeline, data, context, tensor}, plan);
  return outermost({data, context, tensor}, plan);  // gradients and their shards
}

RankedBreakdown break_down(std::span<const RankTimes> ranks, std::span<const int> stages, int64_t steps,
                           const ParallelPlan& plan) {
  TRIREME_CHECK(!ranks.empty() && ranks.size() == stages.size(), "{} times of {} ranks", ranks.size(),
                stages.size());
  const std::vector<Loss> losses = losses_of(ranks, stages);
  const double share = 1.0 / static_cast<double>(ranks.size());
  RankedBreakdown out;
  StepBreakdown& all = out.all;
  all.steps = steps;
  std::array<double, kNumAxes> exposed{};
  for (size_t r = 0; r < ranks.size(); ++r) {
    const RankTimes& rank = ranks[r];
    const Loss& loss = losses[r];
    const double imbalance = loss.excess + rank.late + loss.moved;
    all.step_ms += share * rank.step;
    all.compute_ms += share * (rank.compute - loss.excess - loss.behind);
    all.bubble_ms += share * (rank.bubble + loss.behind - loss.moved);
    all.imbalance_ms += share * imbalance;
    all.data_ms += share * rank.data;
    all.optimizer_ms += share * rank.optimizer;
    all.checkpoint_ms += share * rank.checkpoint;
    for (size_t a = 0; a < kNumAxes; ++a) exposed[a] += share * rank.exposed[a];
    out.ranks.compute_ms.push_back(rank.compute);
    out.ranks.wait_ms.push_back(wait_of(rank));
    out.ranks.imbalance_ms.push_back(imbalance);
    out.ranks.mem_bytes.push_back(static_cast<int64_t>(rank.mem_bytes));
    all.rest_ms +=
        share * (rank.step - rank.compute - rank.optimizer - rank.data - rank.checkpoint - wait_of(rank));
  }
  for (size_t a = 0; a < kNumAxes; ++a) {
    const auto axis = static_cast<Axis>(a);
    if (degree_of(axis, plan) > 1)
      all.exposed_ms.emplace_back(to_string(axis), exposed[a]);
    else
      all.rest_ms += exposed[a];
  }
  return out;
}

}  // namespace trireme::launch
