// Fingerprints of the tensors between layers in a step, small enough to keep and compare.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/transformer.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/module/stage_observer.h"

namespace trireme::launch {

/// Of every micro-batch, layer and direction (forward: what the layer gives on; backward: the gradient of its
/// input) the sum of squares and kSigns sums with signs drawn at random for every element. Their differences
/// give the distance of two tensors, however each was divided, to about 1 / sqrt(2 kSigns) of it (Alon,
/// Matias and Szegedy, "The space complexity of approximating the frequency moments", STOC 1996).
struct TraceTable {
  static constexpr size_t kSigns = 32, kWidth = kSigns + 1;
  std::vector<double> sums;  ///< kWidth a place, in the order in which one rank comes to them
  /// Places where ranks that hold the same have different bits.
  std::vector<size_t> unlike;

  size_t size() const { return sums.size() / kWidth; }
  /// |a - b| / |b| at a place; infinite where one of them is not finite.
  friend double distance(const TraceTable& a, const TraceTable& b, size_t place);
};

/// The numbers in its whole micro-batch (sample by sample, position by position) of the rows that a rank of a
/// context holds.
std::vector<int64_t> rows_of(const MicroBatch& micro_batch, const ContextShare& share);

class LayoutTrace final : public StageObserver {
 public:
  /// For steps of `num_micro_batches` in all replicas together.
  LayoutTrace(const ParallelContext& parallel, const Transformer& model, int64_t num_micro_batches);

  void enter(int64_t index, const MicroBatch& micro_batch, int stage) override;
  void after_forward(Context& ctx, const ObservedLayer& layer, const Tensor& y) override;
  void after_backward_input(Context& ctx, const ObservedLayer& layer, const Tensor& dx) override;

  /// The table of a step, equal on all ranks: micro-batch by micro-batch, forward from the embedding on, then
  /// backward from the head on. Clears it. All ranks call it.
  /// `loss_scale`: by which backward sums are too large; they come without it.
  TraceTable take(Context& ctx, double loss_scale);

 private:
  void note(Context& ctx, size_t layer, bool is_forward, const Tensor& t);

  const ParallelContext& parallel_;
  std::vector<int> placement_;
  size_t num_layers_, num_places_;
  std::vector<double> sums_;
  std::vector<int64_t> least_, most_;  // hash of what tensor-parallel ranks hold alike
  // Of the pass in flight.
  size_t micro_batch_ = 0, first_layer_ = 0;
  std::vector<int64_t> rows_;  // of this rank: numbers in the micro-batch, whatever the layout
  bool shards_rows_ = false;
};

/// Where a place of a trace of a model with `num_layers` blocks is.
struct TracePlace {
  size_t micro_batch;
  bool is_forward;
  std::string layer;  ///< "embedding", "layers.1", "head"
};
TracePlace trace_place(size_t place, int64_t num_layers);

}  // namespace trireme::launch
