// ParameterRegistry: where the layers of a rank get their parameters. Each is there once, however many layers
// use it.
#pragma once

#include <map>
#include <memory>

#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "models/spec/rank_share.h"
#include "models/spec/weight_holders.h"

namespace trireme {

class ParameterRegistry {
 public:
  /// For this rank of the pipeline, whose layers are asked for in the order of the forward pass. `spec` and
  /// `holders` outlive it.
  ParameterRegistry(const ModelSpec& spec, const RankShare& share, const WeightHolders& holders, int rank)
      : spec_(spec), share_(share), holders_(holders), rank_(rank) {}

  std::shared_ptr<EmbeddingParameters> embedding();
  /// Those of the block itself, or of the one whose weights it uses.
  std::shared_ptr<BlockParameters> block(int64_t index);
  /// A tied head has a matrix of its own, a copy, where the embedding is on another rank.
  std::shared_ptr<HeadParameters> head();
  /// What a tied head reads where the embedding is on this rank; else null.
  ParameterBlock* token_table() { return embedding_ ? &embedding_->tokens : nullptr; }

 private:
  void mark(ParameterBlock& block, int64_t place) const;

  const ModelSpec& spec_;
  RankShare share_;
  const WeightHolders& holders_;
  int rank_;
  std::shared_ptr<EmbeddingParameters> embedding_;
  std::map<int64_t, std::shared_ptr<BlockParameters>> blocks_;  // by the block that uses them first
};

}  // namespace trireme
