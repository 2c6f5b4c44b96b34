// TrainingSession: a model that can be trained in a layout. What trainer, verify, benchmarks, tests and users
// of the library begin with.
#pragma once

#include <string>
#include <vector>

#include "models/session/session_options.h"
#include "models/transformer/transformer.h"
#include "parallel/checkpoint/checkpointed_model.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/training/training_step.h"

namespace trireme {

/// This rank's groups, its part of the model with weights to begin with, and the step that trains it:
///
///   Context ctx;
///   const auto world = make_self_communicator();
///   TrainingSession session(ctx, *world, {}, config, {.max_seq_len = 128});
///   MicroBatch batch = make_micro_batch(ctx, 8, 128, tokens, targets, session.share());
///   session.step().apply(session.step().forward_backward({&batch, 1}), 1e-3);
class TrainingSession {
 public:
  /// `plan` is resolved here (data 0: what the other degrees leave of the world). `ctx` and `world` outlive
  /// the session; where `world` has a recorder, it is told where the rank is. All ranks of `world` make one,
  /// with equal arguments. Throws UserError with the errors of
  /// plan and model, or of the file of weights.
  TrainingSession(Context& ctx, Communicator& world, const ParallelPlan& plan, const ModelConfig& model,
                  const SessionOptions& options);
  TrainingSession(const TrainingSession&) = delete;
  TrainingSession& operator=(const TrainingSession&) = delete;

  Context& context() { return ctx_; }
  const ParallelContext& parallel() const { return parallel_; }
  const ParallelPlan& plan() const { return parallel_.plan(); }
  Transformer& model() { return model_; }
  ModelPart& part() { return model_.part(); }
  ParameterStorage& storage() { return model_.storage(); }
  TrainingStep& step() { return step_; }
  /// The share of each sequence that this rank holds.
  ContextShare share() const { return ContextParallel(parallel_).share(); }

  /// Whether layers compute through the quantization of the model's config from now on
  /// (Transformer::set_quantizes()). Learned scales are measured first: those that are not yet, or all.
  void set_quantizes(bool on, bool measures_again);

  /// As files have the model.
  CheckpointedModel checkpointed();
  /// What of the state this rank saves in a checkpoint (slice_sources()).
  std::vector<SliceSource> state_slices();
  /// Weights, the optimizer's state and updates, and what routers keep, of the checkpoint `directory`; of
  /// weights alone, these and the routers' biases. All ranks call it (load_state()).
  std::vector<std::string> load_checkpoint(const std::string& directory, const Manifest& manifest,
                                           LoadedState what);
  /// save_weights() of all ranks.
  void save(const std::string& path);

 private:
  void load_initial(const std::string& path, ModelConfig model, bool upcycle);

  Context& ctx_;
  ParallelContext parallel_;
  Transformer model_;
  TrainingStep step_;
};

}  // namespace trireme
