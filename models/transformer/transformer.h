// Transformer: the decoder-only model of a ModelConfig.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "models/config/loss_config.h"
#include "models/config/model_config.h"
#include "models/layers/embedding.h"
#include "models/layers/loss_head.h"
#include "models/layers/matmul_policies.h"
#include "models/spec/model_spec.h"
#include "models/spec/rank_share.h"
#include "models/spec/weight_holders.h"
#include "models/transformer/parameter_registry.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/data_parallel/sharded_weights.h"
#include "parallel/expert_parallel/expert_parallel.h"
#include "parallel/module/model_part.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/plan/recomputation.h"
#include "runtime/base/error.h"

namespace trireme {

class CachingBlock;

struct TransformerOptions {
  /// The longest sequence: it bounds the positions of the rotary table and weighs in the placement of layers.
  int64_t max_seq_len = 0;
  DType compute_type = DType::f32;
  ShardingSpec sharding = {};        ///< how ranks that hold the same parameters divide their state
  Recomputation recomputation = {};  ///< what is not kept for the backward pass
  /// The linear layers of the blocks (not experts, routers or the head) multiply in 8 bits (MatmulPolicies).
  bool float8 = false;
  LossConfig loss = {};
  ExitConfig exits = {};  ///< of training for the config's exits
  /// What is minimised in place of what `loss` describes; null: that.
  std::shared_ptr<const Objective> objective = nullptr;
  /// The model is only read: it has no storage, gradients or masters, and whoever makes it points the blocks
  /// of its part to weights (InferenceModel).
  bool inference = false;
};

class Transformer {
 public:
  /// This rank's part of the model: over a pipeline its virtual stages, over tensor-parallel ranks its share
  /// of each layer. Weights are uninitialised until storage().initialize(). `parallel` outlives the model.
  /// Throws UserError (usage) with the errors of the config.
  Transformer(Context& ctx, const ParallelContext& parallel, const ModelConfig& config,
              const TransformerOptions& options);

  const ModelConfig& config() const { return config_; }
  const ModelSpec& spec() const { return spec_; }
  int64_t max_seq_len() const { return options_.max_seq_len; }
  ModelPart& part() { return part_; }
  /// Where the virtual stages begin in the row of layers: embedding, blocks, head (layer_placement()).
  const std::vector<int>& placement() const { return placement_; }
  /// Not of a model for inference (CHECK).
  ParameterStorage& storage() {
    TRIREME_CHECK(part_.storage != nullptr, "a model for inference has no storage of parameters");
    return *part_.storage;
  }

  /// Of the last layer, on the rank that has it; null on others.
  const LossHead* head() const { return head_; }
  /// Whether layers compute through the quantization of the config, as they do at first. Between steps; on
  /// all ranks alike.
  void set_quantizes(bool on) { *quantizes_ = on; }

  /// [rows, V] in the compute type, for the tokens of the batch; every rank of the tensor and
  /// pipeline axes calls it and gets all. So does every rank of parallel.shard() where
  /// weights are sharded, and of parallel.experts(). Of a paged batch [n, V], for its n logit_rows.
  Tensor logits(Context& ctx, const TokenBatch& batch);
  /// What logits() multiplies with the head's matrix: [rows, C] in the compute type, behind the final norm,
  /// of all tokens of a batch that is not paged. On the ranks of the last stage; undefined on the others,
  /// which call it too.
  Tensor last_states(Context& ctx, const TokenBatch& batch);
  /// Streams [rows, C] behind the first `last` blocks, from those behind the first `first` (where that is 0
  /// the tokens are embedded, and x is undefined). Of a paged batch; the model is one pipeline stage (CHECK).
  Tensor streams(Context& ctx, const TokenBatch& batch, const Tensor& x, int64_t first, int64_t last);
  /// Stores the keys and values that blocks [first, last) would make if all had x as their input: what is
  /// cached of rows that leave before them.
  void store(Context& ctx, const TokenBatch& batch, const Tensor& x, int64_t first, int64_t last);
  /// What logits() makes of streams, behind the last block or at an exit: [n, V] of the n logit_rows of x.
  Tensor logits_of_streams(Context& ctx, const TokenBatch& batch, const Tensor& x);

 private:
  Tensor run_blocks(Context& ctx, const MicroBatch& mb);  // before the head; of other stages theirs
  void expect_blocks(const TokenBatch& batch, int64_t first, int64_t last) const;
  // place 0: the embedding, then blocks and head
  std::unique_ptr<Layer> make_layer(Context& ctx, int place, const std::shared_ptr<ExitStreams>& streams);
  std::unique_ptr<Layer> make_block(Context& ctx, int64_t index);
  // Of a virtual stage; null where it has nothing to do with exits.
  std::shared_ptr<ExitStreams> exit_streams(size_t stage) const;
  std::unique_ptr<Layer> with_exits(std::unique_ptr<Layer> layer, int place, size_t stage,
                                    const std::shared_ptr<ExitStreams>& streams, bool& begins);
  // Blocks with equal angles share a table; undefined for positions that are not rotary.
  Tensor rotary_table_of(Context& ctx, const RotarySpec& rotary);

  ModelConfig config_;
  ModelSpec spec_;
  TransformerOptions options_;
  RankShare share_;
  Communicator& pipeline_;
  TensorParallel tensor_;
  std::shared_ptr<bool> quantizes_ = std::make_shared<bool>(true);
  MatmulPolicies matmul_;
  ContextParallel context_;
  ExpertParallel experts_;
  std::vector<std::pair<RotarySpec, Tensor>> rotary_tables_;
  std::vector<int> placement_;
  std::unique_ptr<const WeightHolders> holders_;
  std::unique_ptr<ParameterRegistry> parameters_;
  ModelPart part_;
  std::unique_ptr<ShardedWeights> weights_;  // what the part's stages read through; null for inference
  std::vector<CachingBlock*> blocks_;        // of this rank, in order
  LossHead* head_ = nullptr;                 // on the rank with the last one
};

/// parameters_by_layer(spec) of the config's model (models/spec/describe.h).
std::vector<std::vector<Parameter>> parameters_by_layer(const ModelConfig& config);

}  // namespace trireme
