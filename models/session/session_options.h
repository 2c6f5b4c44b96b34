// Options of a TrainingSession beyond model and layout.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/config/exit_config.h"
#include "models/config/loss_config.h"
#include "parallel/plan/parameter_rules.h"
#include "parallel/plan/recomputation.h"
#include "parallel/training/training_step_options.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

class Objective;

struct SessionOptions {
  int64_t max_seq_len = 0;       ///< longest sequence; 0: the model's max_positions
  DType precision = DType::f32;  ///< what layers compute in
  bool master = true;            ///< f32 master weights beside 16-bit ones; without, stochastic rounding
  std::vector<ParameterRule> rules = {};  ///< which optimizer updates what; without, AdamW everything
  Recomputation recomputation = {};       ///< what is not kept for the backward pass
  bool float8 = false;                    ///< linear layers of the blocks multiply in 8 bits
  bool quantizes = true;                  ///< from the first step, where the model's config says how
  uint64_t seed = 0;                      ///< of the initial weights
  std::string weights = {};               ///< safetensors file to begin with; empty: initial weights
  bool upcycle = false;   ///< a mixture begins with the weights of a dense model (load_weights())
  LossConfig loss = {};   ///< what is minimised
  ExitConfig exits = {};  ///< the same, where the model has exits
  /// One's own in its place (models/layers/objective.h); null: that of `loss`.
  std::shared_ptr<const Objective> objective = nullptr;
  TrainingStepOptions step = {};
};

}  // namespace trireme
