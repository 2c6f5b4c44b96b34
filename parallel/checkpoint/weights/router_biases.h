// The biases that balance experts, as tensors beside the weights: they are state that decides which experts a
// token meets, but no parameters.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/checkpoint/checkpointed_model.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

inline constexpr std::string_view kRouterWeight = ".router.weight", kRouterBias = ".router.bias";

/// "layers.3.ffn.router.bias" and one number an expert, for every router of the model that has biases. Equal
/// on all ranks, which all call it.
std::map<std::string, std::vector<float>> router_biases(Context& ctx, const ParallelContext& parallel,
                                                        const CheckpointedModel& model);

/// What routers keep from step to step, by their names ("layers.3.ffn.router"): biases of those that have
/// some, and the loads of the last step. Equal on all ranks, which all call it.
struct RouterStates {
  std::map<std::string, std::vector<float>> biases;
  std::map<std::string, std::vector<double>> loads;
};
RouterStates router_states(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model);
/// Gives this rank's routers theirs, where they are known: of routers with as many experts.
void set_router_states(const RouterStates& states, ModelPart& part);

class WeightSource;
/// Gives this rank's routers the biases of the source, where it has them. UserError (bad_input) for biases of
/// another number of experts or another type than f32.
void load_router_biases(const WeightSource& source, const CheckpointedModel& model);

}  // namespace trireme
