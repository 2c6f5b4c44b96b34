// The memory of a stage's parameters: flat buffers that optimizer, reduction and checkpoint walk without
// knowing layers.
#pragma once

#include <span>
#include <vector>

#include "parallel/module/parameter.h"

namespace trireme {

/// One parameter's place in its group.
struct ParameterView {
  const Parameter* parameter;
  Tensor master;    ///< f32, this rank's block
  Tensor gradient;  ///< f32, this rank's block
};

/// Blocks of one kind laid out in one flat index space, in the order in which the backward pass completes
/// their gradients.
struct ParameterGroup {
  struct Place {
    ParameterBlock* block;
    int64_t begin;  ///< index of its first element
  };
  bool matrices = true;       ///< matrices (decayed) or vectors (not)
  std::vector<Place> places;  ///< by begin
  int64_t numel = 0;          ///< with padding between blocks; the padding is zero in every buffer
  Tensor weights;             ///< what layers compute with: compute type for matrices, f32 for vectors
  Tensor master;              ///< f32 weights that the optimizer updates; `weights` itself where that is f32
  Tensor gradients;           ///< f32
};

class ParameterStorage {
 public:
  /// Lays out `blocks` (in the order of the forward pass; they outlive the storage) and points their weights
  /// and gradients into it. Weights are uninitialised, gradients zero.
  ParameterStorage(Context& ctx, std::span<ParameterBlock* const> blocks, DType compute_type);

  std::span<ParameterGroup> groups() { return groups_; }
  /// Every parameter in the order of the forward pass.
  const std::vector<ParameterView>& parameters() const { return parameters_; }

  /// Initial values from (seed, global name, global element): equal in every layout.
  void initialize(Context& ctx, uint64_t seed);
  void zero_gradients(Context& ctx);
  /// Rounds the master weights into the weights that layers compute with, after somebody wrote the masters.
  void refresh_weights(Context& ctx);

 private:
  void add_group(Context& ctx, std::span<ParameterBlock* const> blocks, bool matrices, DType compute_type);

  std::vector<ParameterGroup> groups_;
  std::vector<ParameterView> parameters_;
};

}  // namespace trireme
