// A short training run in some layout that records what must be equal in another layout.
#pragma once

#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/verify/expert_choices.h"
#include "launch/verify/layout_trace.h"
#include "models/session/named_tensors.h"
#include "models/session/stepwise_run.h"

namespace trireme::launch {

/// What the passes of a step gave.
struct RecordedStep {
  double loss = 0;         ///< mean, with what routers and the objective add to it
  double grad_norm = 0;    ///< as the run has it
  double loss_scale = 1;   ///< of the passes
  double mean = 0;         ///< what makes of `gradients` means over the tokens of the global batch
  NamedTensors gradients;  ///< sums over tokens, times the loss scale; on rank 0
  TraceTable trace;
  ChoiceTable choices;
  ChoiceDifferences differences;  ///< from the choices that were followed
};

/// Called during a run, for tests that disturb it on purpose.
class RunHooks {
 public:
  virtual ~RunHooks() = default;
  virtual void made(Context&, Transformer&) {}
  virtual void before_passes(int64_t /*step*/, Context&, Transformer&, std::vector<MicroBatch>&) {}
  virtual void before_update(int64_t /*step*/, Context&, Transformer&) {}
  virtual void after_update(int64_t /*step*/, Context&, Transformer&) {}
};

class RecordedRun {
 public:
  /// A run in the layout of config.parallel, which is resolved, on samples made from random tokens, of which
  /// every seventh does not count, and where the run keeps documents apart every fourth ends one, at a
  /// constant rate. All ranks of `world` make one and make the calls
  /// below together. `hooks` (may be null) outlives it.
  RecordedRun(Communicator& world, const RunConfig& config, Device device, RunHooks* hooks = nullptr);
  RecordedRun(const RecordedRun&) = delete;
  RecordedRun& operator=(const RecordedRun&) = delete;

  /// Forward and backward passes of the next step. fp16 has no small gradients without a loss scale, nor such
  /// as are too large with one: where they overflow they are run again with less. Elsewhere a power of two
  /// changes no bit.
  RecordedStep run_passes(double loss_scale = 1024);
  /// Its update, with which it ends.
  void update();

  /// Whole f32 masters, on rank 0.
  NamedTensors weights() { return run_.collect(ParameterState::master); }
  /// The biases that balance experts, by the names of their routers, on every rank.
  NamedTensors biases();
  /// Empty where all copies of weights have the same bits, and rounded weights those of their masters; else a
  /// sentence on the first that has not. On rank 0.
  std::string differing_copies();

  /// On one rank: begins the next step with these instead of its own.
  void set_weights(const NamedTensors& weights);
  void set_biases(const NamedTensors& biases);
  /// On one rank: the experts that the next step's tokens go to, whatever the routers say.
  void follow(const ChoiceTable& choices) { choices_.follow(choices); }

  Transformer& model() { return session_.model(); }

 private:
  RunConfig config_;
  Context ctx_;
  TrainingSession session_;
  StepwiseRun run_;
  RunHooks* hooks_;
  LayoutTrace trace_;
  ExpertChoices choices_;
};

}  // namespace trireme::launch
