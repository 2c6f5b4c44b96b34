#include "models/session/training_session.h"

#include <vector>

#include <fmt/ranges.h>

#include "models/formats/open_weights.h"
#include "models/spec/prunable.h"
#include "models/transformer/checkpointed_transformer.h"
#include "models/transformer/measure_scales.h"
#include "parallel/checkpoint/weights/initial_weights.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "parallel/checkpoint/weights/save_weights.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

ParallelPlan resolved(ParallelPlan plan, int world_size) {
  const std::vector<std::string> errors = resolve(plan, world_size);
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  return plan;
}

TrainingStepOptions with_prunable(TrainingStepOptions step, const ModelSpec& spec,
                                  const std::vector<ParameterRule>& rules) {
  if (step.prune) step.prunable = prunable_of(spec, step.prune, rules);
  return step;
}

}  // namespace

TrainingSession::TrainingSession(Context& ctx, Communicator& world, const ParallelPlan& plan,
                                 const ModelConfig& model, const SessionOptions& options)
    : ctx_(ctx),
      parallel_(world, resolved(plan, world.size())),
      model_(ctx, parallel_, model,
             {.max_seq_len = options.max_seq_len > 0 ? options.max_seq_len : model.max_positions,
              .compute_type = options.precision,
              .sharding = parallel_.sharding(options.master, options.rules),
              .recomputation = options.recomputation,
              .float8 = options.float8,
              .loss = options.loss,
              .exits = options.exits,
              .objective = options.objective}),
      step_(ctx, parallel_, model_.part(), with_prunable(options.step, model_.spec(), options.rules)) {
  if (world.recorder() != nullptr) ctx.set_recorder(world.recorder());
  storage().initialize(ctx, options.seed);
  if (!options.weights.empty()) load_initial(options.weights, model, options.upcycle);
  if (model.quantization) set_quantizes(options.quantizes, false);
}

void TrainingSession::set_quantizes(bool on, bool measures_again) {
  const QuantizationConfig& quantization = model_.config().quantization;
  model_.set_quantizes(on);
  if (quantization.learned_scales) measure_scales(ctx_, part(), quantization.spec(), measures_again);
}

void TrainingSession::load_initial(const std::string& path, ModelConfig model, bool upcycle) {
  const WeightPlace place = find_weights(path);
  if (place.format == ModelFormat::checkpoint)
    return load_initial_weights(ctx_, parallel_, checkpointed(), place.path, upcycle);
  if (upcycle) model.moe = {};  // the source is the dense model
  model.quantization = {};      // and has weights as they are
  load_weights(ctx_, checkpointed(), *open_weights(place, model), upcycle);
}

std::vector<SliceSource> TrainingSession::state_slices() {
  return slice_sources(parallel_, part(), step_.optimizer_state());
}

std::vector<std::string> TrainingSession::load_checkpoint(const std::string& directory,
                                                          const Manifest& manifest, LoadedState what) {
  std::vector<std::string> missing =
      load_state(ctx_, parallel_, part(), step_.optimizer_state(), directory, manifest, what);
  if (what == LoadedState::weights) {
    set_router_states({manifest.state.router_biases, {}}, part());
    return missing;
  }
  set_router_states({manifest.state.router_biases, manifest.state.router_loads}, part());
  step_.set_num_updates(manifest.state.updates);
  return missing;
}

CheckpointedModel TrainingSession::checkpointed() { return trireme::checkpointed(model_); }

void TrainingSession::save(const std::string& path) {
  save_weights(ctx_, parallel_, checkpointed(), step_, path);
}

}  // namespace trireme
