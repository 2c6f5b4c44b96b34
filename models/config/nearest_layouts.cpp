#include "models/config/nearest_layouts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace trireme {

namespace {

struct Candidate {
  ParallelPlan plan;
  double distance;
};

double doublings(int a, int b) { return std::abs(std::log2(static_cast<double>(a) / b)); }

double distance(const ParallelPlan& a, const ParallelPlan& wanted) {
  const double data = wanted.data > 0 ? doublings(a.data, wanted.data) : 0;
  return data + doublings(a.tensor, wanted.tensor) + doublings(a.pipeline, wanted.pipeline) +
         doublings(a.context, wanted.context) + doublings(a.expert, wanted.expert);
}

std::string text_of(const ParallelPlan& plan) {
  std::string text = fmt::format("--dp {}", plan.data);
  const auto add = [&](const char* option, int degree) {
    if (degree > 1) text += fmt::format(" {} {}", option, degree);
  };
  add("--tp", plan.tensor);
  add("--pp", plan.pipeline);
  add("--cp", plan.context);
  add("--ep", plan.expert);
  if (plan.expert_row_shards() > 1)
    text += fmt::format(" --parallel.expert-tensor {}", plan.expert_tensor_ranks());
  return text;
}

template <class F>
void for_each_divisor(int n, F&& f) {
  for (int d = 1; d <= n; ++d) {
    if (n % d == 0) f(d);
  }
}

}  // namespace

std::vector<std::string> nearest_layouts(const ModelConfig& model, const ParallelPlan& wanted,
                                         const BatchSpec& batch, int world_size, size_t most) {
  if (std::min({wanted.tensor, wanted.pipeline, wanted.context, wanted.expert}) < 1) return {};
  std::vector<Candidate> found;
  const auto consider = [&](int tensor, int pipeline, int context, int expert) {
    ParallelPlan plan = wanted;
    plan.tensor = tensor;
    plan.pipeline = pipeline;
    plan.context = context;
    plan.expert = expert;
    plan.data = 0;
    if (fit_to_world(plan, world_size).empty() && layout_errors(model, plan, batch.completed(plan)).empty())
      found.push_back({plan, distance(plan, wanted)});
  };
  for_each_divisor(world_size, [&](int tensor) {
    for_each_divisor(world_size / tensor, [&](int pipeline) {
      const int ranks = world_size / tensor / pipeline;  // that process different tokens
      for_each_divisor(ranks, [&](int context) {
        const int width = wanted.expert_tensor == 0 ? tensor : wanted.expert_tensor;
        if (tensor % width != 0) return;
        for_each_divisor(model.moe.num_experts > 0 ? ranks * tensor / width : 1,
                         [&](int expert) { consider(tensor, pipeline, context, expert); });
      });
    });
  });
  std::ranges::stable_sort(found, {}, &Candidate::distance);
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(most, found.size()); ++i) texts.push_back(text_of(found[i].plan));
  return texts;
}

}  // namespace trireme
