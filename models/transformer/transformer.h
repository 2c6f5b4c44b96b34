// The decoder-only Transformer that a ModelConfig turns into GPT-2 or Llama.
#pragma once

#include <memory>

#include "models/config/model_config.h"
#include "models/layers/embedding.h"
#include "models/layers/loss_head.h"
#include "parallel/module/parameter_storage.h"
#include "parallel/module/stage.h"

namespace trireme {

class Transformer {
 public:
  /// Weights are uninitialised until storage().initialize(). `max_seq_len` bounds the positions of the rotary
  /// table; `division` says how the ranks that hold the same parameters divide their state. Throws UserError
  /// (usage) with the faults of the config.
  Transformer(Context& ctx, const ModelConfig& config, int64_t max_seq_len, DType compute_type,
              const StateDivision& division = {});

  const ModelConfig& config() const { return config_; }
  Stage& stage() { return *stage_; }
  ParameterStorage& storage() { return *storage_; }

  /// [rows, V] in the compute type, for tokens and positions of the micro-batch.
  Tensor logits(Context& ctx, const MicroBatch& micro_batch);

 private:
  ModelConfig config_;
  std::unique_ptr<Stage> stage_;
  LossHead* head_ = nullptr;  // the stage's last layer
  std::unique_ptr<ParameterStorage> storage_;
};

/// A micro-batch of `batch` sequences of `seq_len` tokens, with positions 0.. in each sequence. The vectors
/// have batch * seq_len entries; targets may be empty.
MicroBatch make_micro_batch(Context& ctx, int64_t batch, int64_t seq_len, std::span<const int32_t> tokens,
                            std::span<const int32_t> targets);

}  // namespace trireme
