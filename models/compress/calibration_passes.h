// CalibrationPasses: the samples of a calibration on their way through a model, layer by layer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/transformer/transformer.h"
#include "parallel/module/micro_batch.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Places are those of the row of layers: 0 the embedding, then blocks, then the head. Between two of them
/// the hidden states of all of a replica's samples lie on the device of the pipeline rank whose turn it is:
/// samples * tokens * hidden numbers of the compute type.
class CalibrationPasses {
 public:
  /// Samples of equal length, the same on all ranks; each data-parallel replica takes neighbouring ones. With
  /// `end_of_text` the documents within samples that it ends do not see each other. UserError (bad_input)
  /// for samples that do not fit the model.
  CalibrationPasses(Context& ctx, const ParallelContext& parallel, Transformer& model,
                    const std::vector<std::vector<int32_t>>& samples, std::optional<int32_t> end_of_text);

  /// Hands the states to the pipeline rank that has the layer at `place`. All ranks call it for each place in
  /// turn.
  void arrive(Context& ctx, int place);
  bool is_here(int place) const { return rank_of_[static_cast<size_t>(place)] == pipeline_.rank(); }
  /// Runs the layer at `place`, where it is; with `keep` the states are what it made from then on.
  void forward(Context& ctx, int place, bool keep);
  /// Gives all pipeline ranks the states that go into the layer at `place`, to run layers of theirs on them,
  /// until take_back(). All ranks call both.
  void lend(Context& ctx, int place);
  void take_back(int place);
  /// What the layer at `place`, which is here, makes of a pass; the states stay.
  Tensor output(Context& ctx, int place, size_t pass);
  /// The same of the layer whose turn it is, for all pipeline ranks, which call it between lend() and
  /// take_back().
  Tensor lent_output(Context& ctx, int place, size_t pass);
  /// Rows of states() that no other rank of `tensor` counts.
  Part rows_counted(size_t pass, const Communicator& tensor) const;
  /// Hidden states of each pass as they go into the next layer, on the rank whose turn it is: all of its
  /// rows, or its share of them under sequence parallelism.
  const std::vector<Tensor>& states() const { return states_; }
  /// Rows of a pass, all of them.
  int64_t num_rows(size_t pass) const { return batches_[pass].rows(); }
  /// What the head's norm makes of each pass.
  template <class Take>
  void for_each_normed(Context& ctx, const Take& take) {
    for (const Tensor& x : states_) {
      Head::Saved dropped;
      take(model_.head()->head().norm(ctx, x, dropped));
    }
  }

 private:
  void move(Context& ctx, int from, int to);
  Tensor empty_states(Context& ctx, size_t pass) const;

  Transformer& model_;
  Communicator& pipeline_;
  std::vector<int> rank_of_;         // pipeline rank of each place
  std::vector<MicroBatch> batches_;  // one a pass
  std::vector<Tensor> states_;       // of each pass; empty on ranks whose turn it is not
};

}  // namespace trireme
