// LossHead: the last layer of a model in training; a head and an objective.
#pragma once

#include <memory>

#include "models/config/loss_config.h"
#include "models/layers/exit_streams.h"
#include "models/layers/head.h"
#include "models/layers/objective.h"
#include "parallel/module/layer.h"

namespace trireme {

class LossHead final : public Layer {
 public:
  /// `config` says how many logits are made at once.
  LossHead(const HeadSpec& spec, std::shared_ptr<HeadParameters> parameters, ParameterBlock* tied_to,
           const TensorParallel& tensor, std::shared_ptr<const Objective> objective,
           const LossConfig& config = {}, const MatmulPolicies& matmul = {},
           std::shared_ptr<ExitStreams> exits = nullptr);

  /// Adds the losses of the micro-batch's targets to its sums, and returns an undefined tensor. In training
  /// the logits become their own gradient at once, so that [rows, V / ranks] is held only once. Where that is
  /// more than may be, a part of the rows goes through head and objective after the other: outside of
  /// training here, in training in backward_input, so that no logits are made twice or kept. A teacher is
  /// asked for the rows of a part when their turn comes: rows of all of this rank's tokens, which every
  /// tensor-parallel rank has here, sequence parallelism or not. Streams that were kept for exits (`exits`,
  /// may be null) go through the same norm and matrix, in parts, one after the other.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  void collect(std::vector<ParameterBlock*>& blocks) override { head_.collect(blocks); }

  const Head& head() const { return head_; }

 private:
  struct State;
  Tensor run_in_parts(Context& ctx, const MicroBatch& micro_batch, const Tensor& y) const;
  Tensor run_streams(Context& ctx, const MicroBatch& micro_batch, const Tensor& y) const;
  bool matches_states(const MicroBatch& micro_batch) const;
  void match_states(Context& ctx, const MicroBatch& micro_batch, const RowTargets& targets, const Tensor& y,
                    const Tensor& dy) const;
  int64_t rows_at_once(const MicroBatch& micro_batch, DType dtype) const;

  LossConfig config_;
  TensorParallel tensor_;
  Head head_;
  std::shared_ptr<const Objective> objective_;
  std::shared_ptr<ExitStreams> exits_;
};

}  // namespace trireme
