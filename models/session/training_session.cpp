#include "models/session/training_session.h"

#include <vector>

#include <fmt/ranges.h>

#include "models/transformer/checkpointed_transformer.h"
#include "parallel/checkpoint/load_weights.h"
#include "parallel/checkpoint/save_weights.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

ParallelPlan resolved(ParallelPlan plan, int world_size) {
  const std::vector<std::string> faults = resolve(plan, world_size);
  if (!faults.empty()) throw_usage("{}", fmt::join(faults, "\n"));
  return plan;
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
              .loss = options.loss}),
      step_(ctx, parallel_, model_.part(), options.step) {
  storage().initialize(ctx, options.seed);
  if (!options.weights.empty()) load_weights(ctx, checkpointed(), options.weights, options.upcycle);
}

CheckpointedModel TrainingSession::checkpointed() { return trireme::checkpointed(model_); }

void TrainingSession::save(const std::string& path) {
  save_weights(ctx_, parallel_, checkpointed(), step_, path);
}

}  // namespace trireme
