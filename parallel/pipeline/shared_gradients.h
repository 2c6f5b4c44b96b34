// Gradients to which several layers add: on one pipeline rank or on several (tied heads, Megatron-LM, arXiv
// 2104.04473; shared layers, ALBERT, arXiv 1909.11942).
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "parallel/module/model_part.h"
#include "parallel/plan/holder_groups.h"

namespace trireme {

class SharedGradients {
 public:
  /// Every rank of `pipeline` makes one for its part; both outlive it.
  SharedGradients(Communicator& pipeline, const ModelPart& part);

  /// A step begins.
  void begin();
  /// A layer adds nothing more to these blocks in this step: those of them to which no other layer of this
  /// rank will either.
  std::vector<ParameterBlock*> complete(std::span<ParameterBlock* const> blocks);

  /// This rank's blocks that other pipeline ranks hold too (ParameterBlock::holders).
  std::span<ParameterBlock* const> held_elsewhere() const { return held_; }
  /// All of them are complete and have memory: after the call their gradients are sums over the holders,
  /// equal on these. Frozen ones have no gradient, and nothing is sent. Every rank of the pipeline calls it
  /// once a step.
  void sum(Context& ctx);

 private:
  struct Bucket {
    std::string name;  // of its first parameter: the holders' common order
    const ParameterBucket* range;
    int holders;
  };

  HolderGroups groups_;
  std::unordered_map<const ParameterBlock*, int> num_users_, left_;  // layers of this rank
  std::vector<ParameterBlock*> held_;
  std::vector<Bucket> buckets_;  // of held_, but for frozen ones
};

}  // namespace trireme
