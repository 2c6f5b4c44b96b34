#include "launch/config/distill_errors.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

void check_teacher_ranks(const DistillChoice& distill, int world_size, std::vector<std::string>& errors) {
  if (distill.ranks >= world_size) {
    errors.push_back(fmt::format(
        "distill.ranks {}: there {} {} rank{}, and the student needs some: start more, or use fewer for the "
        "teacher; 0: it runs on the student's ranks",
        distill.ranks, world_size == 1 ? "is" : "are", world_size, world_size == 1 ? "" : "s"));
    return;
  }
  const int ranks = distill.ranks > 0 ? distill.ranks : world_size;
  const int64_t replica = int64_t{distill.tensor} * distill.pipeline, unit = replica * distill.expert;
  if (ranks % unit == 0) return;
  std::string error = fmt::format(
      "distill.tensor {} x distill.pipeline {}{}: replicas of the teacher have {} rank{}, and {} do not "
      "divide "
      "into these",
      distill.tensor, distill.pipeline,
      distill.expert > 1 ? fmt::format(" x distill.expert {}", distill.expert) : "", unit,
      unit == 1 ? "" : "s", ranks);
  errors.push_back(error + (distill.ranks > 0
                                ? fmt::format(" (distill.ranks); use degrees whose product "
                                              "divides {}, or distill.ranks {}",
                                              ranks, unit)
                                : fmt::format("; use degrees whose product divides {}", ranks)));
}

}  // namespace

int student_ranks(const RunConfig& config, int world_size) {
  return config.distill ? std::max(1, world_size - config.distill.ranks) : world_size;
}

void complete_distillation(RunConfig& config, const std::set<std::string>& given, int world_size,
                           std::vector<std::string>& errors) {
  DistillChoice& distill = config.distill;
  if (!distill) return;
  if (!given.contains("distill.precision"))
    distill.precision = config.train.precision == DType::f32 ? DType::f32 : DType::bf16;
  for (const std::string& error : distill_errors(distill.loss, config.loss.label_smoothing))
    errors.push_back("distillation: " + error);
  if (config.run.cuda_graph)
    errors.emplace_back(
        "run.cuda-graph on: distill.teacher brings other tensors into each step; leave it out");
  if (config.run.trace.first > 0 && distill.ranks > 0)
    errors.emplace_back(
        "run.trace: ranks of a teacher's own (distill.ranks) are not traced; use distill.ranks 0, or leave "
        "it out");
  check_teacher_ranks(distill, world_size, errors);
}

ParallelPlan teacher_plan(const DistillChoice& distill, int ranks) {
  ParallelPlan plan;
  plan.tensor = distill.tensor;
  plan.pipeline = distill.pipeline;
  plan.expert = distill.expert;
  plan.data = std::max(1, ranks / (distill.tensor * distill.pipeline));
  return plan;
}

}  // namespace trireme::launch
